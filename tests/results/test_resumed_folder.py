"""A stopped run's folder: taken up by the same scenario, refused to another, never taken from a living run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ntkflow.errors import ResultFolderError
from ntkflow.results import ResultFolder, Summary, read_result

TEXT = "name: mine\n"


def stopped(target: Path, *, overwrite: bool = False, text: str = TEXT, checkpoint: bool = True) -> Path:
    """What a run that was stopped leaves; where it wrote."""
    folder = ResultFolder.create(target, overwrite=overwrite, resumes=text)
    folder.write_text("scenario.yaml", text)
    if checkpoint:
        folder.checkpoints.mkdir()
        (folder.checkpoints / "epoch-000003.ckpt").write_bytes(b"state")
    folder.abandon()
    return folder.path


def test_the_same_scenario_goes_on(tmp_path: Path, summary: Summary) -> None:
    place = stopped(tmp_path / "out")
    folder = ResultFolder.create(tmp_path / "out", overwrite=False, resumes=TEXT)
    assert folder.resumed
    assert folder.path == place
    assert (folder.checkpoints / "epoch-000003.ckpt").read_bytes() == b"state"
    folder.finish(summary, {"seed": 1})
    assert not (folder.path / "UNFINISHED").exists()
    assert "checkpoints/epoch-000003.ckpt" in {entry for entry in read_result(folder.path).manifest["files"]}


def test_another_scenario_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    stopped(tmp_path / "out")
    with pytest.raises(ResultFolderError, match="a run of another scenario was stopped here") as refusal:
        ResultFolder.create(tmp_path / "out", overwrite=False, resumes="name: other\n")
    assert "--overwrite starts this one" in str(refusal.value)
    assert (tmp_path / "out" / "checkpoints" / "epoch-000003.ckpt").exists()


def test_overwriting_starts_again(tmp_path: Path) -> None:
    stopped(tmp_path / "out")
    folder = ResultFolder.create(tmp_path / "out", overwrite=True, resumes=TEXT)
    assert not folder.resumed
    assert not folder.checkpoints.exists()
    folder.abandon()


@pytest.mark.parametrize("written", [True, False])
def test_without_a_checkpoint_it_begins_in_the_same_place(tmp_path: Path, written: bool) -> None:
    place = stopped(tmp_path / "out", checkpoint=False)
    if not written:
        (place / "scenario.yaml").unlink()
    folder = ResultFolder.create(tmp_path / "out", overwrite=False, resumes=TEXT)
    assert folder.path == place
    folder.abandon()


def test_files_that_were_being_written_go_away(tmp_path: Path) -> None:
    place = stopped(tmp_path / "out")
    (place / ".results.nc.0a1b2c3d.partial").write_bytes(b"half")
    (place / "checkpoints" / ".epoch-000004.ckpt.0a1b2c3d.partial").write_bytes(b"half")
    ResultFolder.create(tmp_path / "out", overwrite=False, resumes=TEXT).abandon()
    assert not list(place.rglob("*.partial"))
    assert (place / "checkpoints" / "epoch-000003.ckpt").exists()


def test_a_kind_that_cannot_be_resumed_is_not(tmp_path: Path) -> None:
    stopped(tmp_path / "out")
    with pytest.raises(ResultFolderError, match="an earlier run was stopped before it finished"):
        ResultFolder.create(tmp_path / "out", overwrite=False)


def test_beside_the_finished_result_that_it_was_to_replace(tmp_path: Path, run: Callable[..., ResultFolder]) -> None:
    run(tmp_path / "out")
    place = stopped(tmp_path / "out", overwrite=True)
    assert place != tmp_path / "out"
    folder = ResultFolder.create(tmp_path / "out", overwrite=True, resumes=TEXT)
    assert folder.resumed
    assert folder.path == place
    read_result(tmp_path / "out")
    assert "goes on from its last checkpoint" in folder.abandon()


def test_the_lock_of_a_living_run_holds(tmp_path: Path) -> None:
    place = stopped(tmp_path / "out")
    code = (
        "import sys, time; from pathlib import Path; from ntkflow.results import ResultFolder\n"
        f"folder = ResultFolder.create(Path({str(place)!r}), overwrite=False, resumes={TEXT!r})\n"
        "print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "mine\n"
            with pytest.raises(ResultFolderError, match="another run is writing its result here now"):
                ResultFolder.create(place, overwrite=False, resumes=TEXT)
        finally:
            other.kill()
    assert ResultFolder.create(place, overwrite=False, resumes=TEXT).resumed


def test_what_is_said_when_it_stops(tmp_path: Path) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False, resumes=TEXT)
    assert "goes on" not in folder.abandon()
    stopped(tmp_path / "other")
    folder = ResultFolder.create(tmp_path / "other", overwrite=False, resumes=TEXT)
    assert folder.abandon().endswith("The same command without --overwrite goes on from its last checkpoint.")
