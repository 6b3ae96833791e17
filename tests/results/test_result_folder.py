"""What a result folder holds while a run writes it, at its end, and when it is replaced."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ntkflow.errors import ResultFolderError
from ntkflow.results import ResultFolder, Summary, read_result

Run = Callable[..., ResultFolder]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_result(tmp_path: Path, run: Run, summary: Summary) -> None:
    folder = run(tmp_path / "new" / "out")
    assert folder.path == folder.target == tmp_path / "new" / "out"
    assert sorted(contents(folder.path)) == ["figures/loss.png", "manifest.json", "scenario.yaml", "summary.json"]
    manifest = json.loads((folder.path / "manifest.json").read_text())
    assert (manifest["format"], manifest["format_version"]) == ("ntkflow-result", 1)
    assert manifest["created"].endswith("+00:00")
    assert manifest["provenance"] == {"seed": 1, "word": "first"}
    figure = (folder.path / "figures" / "loss.png").read_bytes()
    assert manifest["files"]["figures/loss.png"] == {"sha256": hashlib.sha256(figure).hexdigest(), "size": len(figure)}
    assert Summary.from_json(json.loads((folder.path / "summary.json").read_text())).statements == summary.statements
    assert folder.abandon() == f"The result in {folder.target} is complete."


def test_an_empty_folder_is_taken(tmp_path: Path, run: Run) -> None:
    (tmp_path / "out").mkdir()
    assert read_result(run(tmp_path / "out").path).provenance["word"] == "first"


def test_the_marker_is_there_while_the_run_writes(tmp_path: Path) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    assert os.listdir(folder.path) == ["UNFINISHED"]


def test_a_path_relative_to_the_current_folder(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(Path("out"))
    with pytest.raises(ResultFolderError, match=r"^out: holds a finished result"):
        run(Path("out"))


def test_an_unfinished_run_is_refused_and_overwritten(tmp_path: Path, run: Run) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    folder.write_text("figures/left.svg", "left over")
    said = folder.abandon()
    assert said == f"What the run had written is in {tmp_path / 'out'}, which was left without a manifest."
    assert folder.abandon() == said
    with pytest.raises(ResultFolderError, match="an earlier run was stopped before it finished") as refusal:
        run(tmp_path / "out")
    assert "--overwrite starts again" in str(refusal.value)
    run(tmp_path / "out", "second", overwrite=True)
    assert read_result(tmp_path / "out").provenance["word"] == "second"
    assert not (tmp_path / "out" / "figures" / "left.svg").exists()


def test_overwriting_keeps_the_old_result_until_the_new_one_is_complete(
    tmp_path: Path, run: Run, summary: Summary
) -> None:
    run(tmp_path / "out")
    folder = ResultFolder.create(tmp_path / "out", overwrite=True)
    folder.write_text("scenario.yaml", "name: second\n")
    assert folder.path.parent == tmp_path
    assert folder.path != folder.target
    assert read_result(tmp_path / "out").provenance["word"] == "first"
    folder.finish(summary, {"word": "second"})
    assert folder.path == folder.target
    assert read_result(tmp_path / "out").provenance["word"] == "second"
    assert not (tmp_path / "out" / "figures").exists()
    assert os.listdir(tmp_path) == ["out"]


def test_an_abandoned_overwrite_is_swept_by_the_next(tmp_path: Path, run: Run) -> None:
    run(tmp_path / "out")
    folder = ResultFolder.create(tmp_path / "out", overwrite=True)
    left = folder.path
    said = folder.abandon()
    assert f"{tmp_path / 'out'} is untouched" in said
    assert f"{left}, which was left without a manifest" in said
    mine = tmp_path / "out.unfinished-0123abcd"
    mine.mkdir()
    (mine / "precious").write_text("not ntkflow's")
    run(tmp_path / "out", "second", overwrite=True)
    assert not left.exists()
    assert contents(mine) == {"precious": b"not ntkflow's"}
    assert read_result(tmp_path / "out").provenance["word"] == "second"


@pytest.mark.parametrize(
    "write",
    [
        lambda folder, _: folder.write_text("scenario.yaml", "name: x\n"),
        lambda folder, summary: folder.finish(summary, {}),
    ],
    ids=["text", "finish"],
)
def test_a_full_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    summary: Summary,
    write: Callable[[ResultFolder, Summary], None],
) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)

    def fsync(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ResultFolderError, match="could not be written: no space left on device") as refusal:
        write(folder, summary)
    assert "Free some space" in str(refusal.value)
    assert str(folder.path) in str(refusal.value)
    assert os.listdir(folder.path) == ["UNFINISHED"]


@pytest.mark.parametrize("name", ["", "../up", "/etc/x", "a/../../b", "manifest.json", "UNFINISHED"])
def test_names_that_a_file_may_not_have(tmp_path: Path, name: str) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    with pytest.raises(ValueError, match="not a name that a result's file may have"):
        folder.write_text(name, "")


def test_nothing_is_written_after_the_end(tmp_path: Path, run: Run) -> None:
    with pytest.raises(RuntimeError, match="is closed"):
        run(tmp_path / "out").write_text("more", "")


def test_json_takes_numpy_and_refuses_what_is_not_finite(tmp_path: Path) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    folder.write_json("numbers.json", {"a": np.float32(0.5), "b": np.arange(2), "c": "ü"})
    assert json.loads((folder.path / "numbers.json").read_text()) == {"a": 0.5, "b": [0, 1], "c": "ü"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("nan.json", np.nan)
    with pytest.raises(TypeError, match="set has no place"):
        folder.write_json("set.json", {1})


def test_a_new_result_that_cannot_take_the_place_is_kept(tmp_path: Path, run: Run, summary: Summary) -> None:
    run(tmp_path / "out")
    folder = ResultFolder.create(tmp_path / "out", overwrite=True)
    folder.write_text("scenario.yaml", "name: second\n")
    (tmp_path / "out" / "notes.txt").write_text("written meanwhile")
    with pytest.raises(ResultFolderError, match="could not take the place of the earlier one") as refusal:
        folder.finish(summary, {"word": "second"})
    assert f"complete in {folder.path}" in str(refusal.value)
    assert "did not take the place" in folder.abandon()
    assert read_result(tmp_path / "out").provenance["word"] == "first"
    assert read_result(folder.path).provenance["word"] == "second"
    (tmp_path / "out" / "notes.txt").unlink()
    run(tmp_path / "out", "third", overwrite=True)
    assert read_result(folder.path).provenance["word"] == "second"


def test_an_old_result_that_cannot_be_deleted_is_named(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "out")

    def rmtree(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", rmtree)
    with pytest.warns(UserWarning, match=r"out\.old-\w+: the replaced result could not be deleted: permission denied"):
        run(tmp_path / "out", "second", overwrite=True)
    monkeypatch.undo()
    assert read_result(tmp_path / "out").provenance["word"] == "second"
    run(tmp_path / "out", "third", overwrite=True)
    assert os.listdir(tmp_path) == ["out"]
