"""The places where a run refuses to write; whatever is there stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ntkflow.errors import ResultFolderError
from ntkflow.results import ResultFolder, read_result

Run = Callable[..., ResultFolder]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_result_is_refused(tmp_path: Path, run: Run) -> None:
    before = contents(run(tmp_path / "out").path)
    with pytest.raises(ResultFolderError, match="holds a finished result") as refusal:
        run(tmp_path / "out", "second")
    assert "--overwrite replaces it" in str(refusal.value)
    assert str(tmp_path / "out") in str(refusal.value)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "mine"},
        {"UNFINISHED": "a symphony", "score.ly": "mine"},
        {"UNFINISHED": "", "score.ly": "mine"},
        {"manifest.json": '{"format": "another program\'s"}'},
        {"manifest.json": '{"format": "ntkflow-res'},
        {"manifest.json": "[1]", "summary.json": "{}"},
        {".hidden": "mine"},
    ],
)
def test_somebody_elses_folder_is_never_touched(
    tmp_path: Path, run: Run, overwrite: bool, files: dict[str, str]
) -> None:
    (tmp_path / "out").mkdir()
    for name, text in files.items():
        (tmp_path / "out" / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(ResultFolderError, match="was not written by ntkflow, so nothing in it is touched") as refusal:
        run(tmp_path / "out", overwrite=overwrite)
    assert "Choose another result folder" in str(refusal.value)
    assert contents(tmp_path) == before


def test_a_finished_result_with_a_users_file_in_it_is_not_deleted(tmp_path: Path, run: Run) -> None:
    run(tmp_path / "out")
    (tmp_path / "out" / ".DS_Store").write_text("litter")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ResultFolderError, match=r"would be deleted with the old result: notes\.txt") as refusal:
        run(tmp_path / "out", overwrite=True)
    assert "Move them away" in str(refusal.value)
    (tmp_path / "out" / "notes.txt").unlink()
    run(tmp_path / "out", "second", overwrite=True)


def test_the_current_folder_is_not_replaced(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(ResultFolderError, match="it is the current folder"):
        run(Path("."), overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_refused(tmp_path: Path, run: Run, overwrite: bool) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ResultFolderError, match="out: is a file, not a folder"):
        run(tmp_path / "out", overwrite=overwrite)
    with pytest.raises(ResultFolderError, match="out is a file and in the way; choose another result folder"):
        run(tmp_path / "out" / "deeper", overwrite=overwrite)
    assert (tmp_path / "out").read_text() == "mine"


def test_a_parent_where_nobody_may_write(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(ResultFolderError, match="the result folder cannot be made: permission denied") as refusal:
        run(tmp_path / "out")
    assert str(refusal.value).startswith(str(tmp_path / "out"))
    assert "a place where you may write" in str(refusal.value)


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes into ``out`` and does not come to an end."""
    program = (
        "import sys; from ntkflow.results import ResultFolder; f = ResultFolder.create(sys.argv[1], overwrite=True)"
    )
    program += "; sys.stdout.write(str(f.path) + '\\n'); sys.stdout.flush(); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no locks of this kind")
def test_a_run_that_is_still_writing_is_left_alone(
    tmp_path: Path, run: Run, other_process: subprocess.Popen[str]
) -> None:
    assert other_process.stdout is not None
    other_process.stdout.readline()
    for overwrite in (False, True):
        with pytest.raises(ResultFolderError, match="another run is writing its result here now"):
            run(tmp_path / "out", overwrite=overwrite)
    other_process.kill()
    other_process.wait()
    run(tmp_path / "out", "second", overwrite=True)
    assert read_result(tmp_path / "out").provenance["word"] == "second"
