"""A run's checkpoints: the last few stay, damaged ones are refused by name, the one before is used."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from training.mini_batches import network, recipe, same_bits, start

from ntkflow.errors import CheckpointError
from ntkflow.networks import MLP, load_checkpoint
from ntkflow.training import CheckpointSeries, TrainingState


def filled(folder: Path, epochs: tuple[int, ...] = (10, 20, 30), keep: int = 3) -> CheckpointSeries:
    series = CheckpointSeries(folder, keep)
    for epoch in epochs:
        series.save(start(epoch), epoch=epoch, step=3 * epoch, seed=7, details={"scenario": "x"})
    return series


def newest(series: CheckpointSeries, epoch: int) -> tuple[str, ...]:
    """Checks that this one is found; the messages about those that were refused."""
    found = series.latest(start())
    assert found.epoch == epoch
    assert found.tree is not None
    assert found.header is not None
    assert same_bits(found.tree, start(epoch))
    assert found.header.step == 3 * epoch
    assert found.header.seed == 7
    assert found.header.details == {"scenario": "x", "epoch": epoch}
    return found.refused


def test_the_last_few_stay(tmp_path: Path) -> None:
    series = filled(tmp_path, (5, 10, 120, 1_000_000), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000120.ckpt", "epoch-1000000.ckpt"]
    assert newest(series, 1_000_000) == ()


def test_snapshots_stay_and_are_not_resumed_from(tmp_path: Path) -> None:
    series = CheckpointSeries(tmp_path / "made", keep=1)
    for epoch in (0, 1, 2):
        series.save_lasting(network(epoch), epoch=epoch, step=3 * epoch, seed=7)
        series.save(start(epoch), epoch=epoch, step=3 * epoch, seed=7, details={"scenario": "x"})
    assert series.snapshots() == [0, 1, 2]
    assert series.epochs() == [2]
    assert newest(series, 2) == ()
    assert same_bits(load_checkpoint(series.snapshot_path(1), network())[0], network(1))


def test_nothing_there(tmp_path: Path) -> None:
    for series in (CheckpointSeries(tmp_path, 2), CheckpointSeries(tmp_path / "missing", 2)):
        found = series.latest(start())
        assert (found.epoch, found.tree, found.header, found.refused) == (None, None, None, ())


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


DAMAGES = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is damaged: its arrays take"),
    "empty": (lambda path: path.write_bytes(b""), "no checkpoint of ntkflow"),
    "bit of the arrays": (lambda path: flip(path, -100), "is damaged: the SHA-256 of its arrays differs"),
    "bit of the header": (lambda path: flip(path, 90), "is damaged: the SHA-256 of its header differs"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "is damaged: its arrays take"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_refused_by_name(damage: str, tmp_path: Path) -> None:
    series = filled(tmp_path)
    harm, words = DAMAGES[damage]
    harm(series.path(30))
    (message,) = newest(series, 20)
    assert message.startswith(f"{tmp_path / 'epoch-000030.ckpt'}: ")
    assert words in message


def test_another_network(tmp_path: Path) -> None:
    series = filled(tmp_path)
    wider = MLP(jax.random.key(0), inputs=4, outputs=3, width=9, hidden_layers=1, features=6, activation="tanh")
    series.save(recipe().start(wider, jax.random.key(0)), epoch=40, step=120, seed=7)
    (message,) = newest(series, 30)
    assert message.startswith(
        f"{tmp_path / 'epoch-000040.ckpt'}: holds another network: at .network.layers[0].weight it has float64[9, 4]"
    )


def test_another_epochs_name(tmp_path: Path) -> None:
    series = filled(tmp_path)
    series.path(50).write_bytes(series.path(10).read_bytes())
    (message,) = newest(series, 30)
    assert "is the checkpoint of epoch 10 under another epoch's name" in message


def test_all_damaged(tmp_path: Path) -> None:
    series = filled(tmp_path)
    for epoch in series.epochs():
        flip(series.path(epoch), -1)
    found = series.latest(start())
    assert found.tree is None
    assert [message.partition(":")[0][-17:] for message in found.refused] == [
        f"epoch-0000{epoch}.ckpt" for epoch in (30, 20, 10)
    ]


def test_after_a_damaged_one_nothing_good_is_deleted(tmp_path: Path) -> None:
    """The run resumes from 20 and writes 25, with one to keep: 30 is damaged, and must not be what is kept."""
    series = filled(tmp_path)
    flip(series.path(30), -1)
    alone = CheckpointSeries(tmp_path, keep=1)
    alone.save(start(25), epoch=25, step=75, seed=7, details={"scenario": "x"})
    assert alone.epochs() == [25, 30]
    assert len(newest(alone, 25)) == 1
    alone.save(start(30), epoch=30, step=90, seed=7, details={"scenario": "x"})
    assert alone.epochs() == [30]
    assert newest(alone, 30) == ()


def test_the_old_one_goes_only_when_the_new_one_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = filled(tmp_path, (10,), keep=1)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        series.save(start(20), epoch=20, step=60, seed=7)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000010.ckpt"]
    assert newest(series, 10) == ()


def test_stray_files_do_no_harm(tmp_path: Path) -> None:
    """What a run killed in mid-write leaves goes at the next checkpoint; files of others stay."""
    series = filled(tmp_path)
    (tmp_path / ".epoch-000040.ckpt.0a1b2c3d.partial").write_bytes(b"half")
    others = ["epoch-40.ckpt", "notes.txt", ".results.nc.0a1b2c3d.partial", "epoch-000040.ckpt.bak"]
    for name in others:
        (tmp_path / name).write_bytes(b"half")
    assert newest(series, 30) == ()
    series.save(start(40), epoch=40, step=120, seed=7, details={"scenario": "x"})
    assert newest(series, 40) == ()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*others, *(f"epoch-0000{epoch}.ckpt" for epoch in (20, 30, 40))}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="the folder of checkpoints cannot be made"):
        CheckpointSeries(tmp_path / "file" / "in", 2).save(start(), epoch=0, step=0, seed=0)
    with pytest.raises(ValueError, match="keep must be 1 or more"):
        CheckpointSeries(tmp_path, 0)


def test_what_is_loaded_is_a_state(tmp_path: Path) -> None:
    found = filled(tmp_path).latest(start())
    assert isinstance(found.tree, TrainingState)
    assert np.array_equal(jax.random.key_data(found.tree.key), jax.random.key_data(jax.random.key(40)))
