"""A run stopped at every single step: no half file has a final name, and a finished result stays readable."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ntkflow.errors import ResultFolderError
from ntkflow.results import ResultFolder, read_result

Run = Callable[..., ResultFolder]

# The warning is about an old result that could not be deleted once the new one was in its place.
_TOLD = (ResultFolderError, UserWarning)


def assert_whole(folder: Path) -> None:
    """Every file with a final name has all of its content, and a manifest means that all is there."""
    for path in folder.rglob("*"):
        if path.is_dir() or path.name.endswith(".partial"):
            continue
        data = path.read_bytes()
        if path.name in ("summary.json", "manifest.json"):
            json.loads(data)
        elif path.name == "scenario.yaml":
            assert data in (b"name: first\n", b"name: second\n")
        elif path.name == "loss.png":
            assert data in (b"first" * 1000, b"second" * 1000)
        else:
            assert path.name == "UNFINISHED"
    if (folder / "manifest.json").exists():
        read_result(folder)


@pytest.mark.parametrize("earlier", [None, "finished", "unfinished"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_an_error_at_each_call(
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    error: BaseException,
    earlier: str | None,
) -> None:
    real: Callable[..., Any] = getattr(os, function)
    for fatal in range(1, 100):
        target = tmp_path / str(fatal) / "out"
        if earlier == "finished":
            run(target)
        elif earlier == "unfinished":
            ResultFolder.create(target, overwrite=False).abandon()
        calls = 0

        def failing(*arguments: Any, fatal: int = fatal) -> Any:
            nonlocal calls
            calls += 1
            if calls == fatal:
                raise error
            return real(*arguments)

        monkeypatch.setattr(os, function, failing)
        with contextlib.suppress(*([KeyboardInterrupt] if isinstance(error, KeyboardInterrupt) else _TOLD)):
            run(target, "second", overwrite=True)
        monkeypatch.setattr(os, function, real)
        if calls < fatal:
            assert fatal > 4, "the loop never got to the interesting calls"
            assert read_result(target).provenance["word"] == "second"
            return
        for folder in target.parent.iterdir():
            assert_whole(folder)
            assert not list(folder.rglob("*.partial"))
        if earlier == "finished":
            assert read_result(target).provenance["word"] in ("first", "second")
        run(target, "second", overwrite=True)
        assert read_result(target).provenance["word"] == "second"
    raise AssertionError("a run does not end after 100 calls")


PROGRAM = """
import os, signal, sys, pathlib
from ntkflow.results import ResultFolder, Summary

WATCHED = ("open", "mkdir", "fsync", "replace", "rename", "unlink", "rmdir", "write")

def write(path, word, overwrite):
    folder = ResultFolder.create(path, overwrite=overwrite)
    folder.write_text("scenario.yaml", f"name: {word}\\n")
    folder.write_bytes("figures/loss.png", word.encode() * 1000)
    folder.finish(Summary(title="t", kind="k"), {"word": word})

def die_before(fatal):
    calls = 0
    def watch(real):
        def watched(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)
        return watched
    for name in WATCHED:
        setattr(os, name, watch(getattr(os, name)))

root = pathlib.Path(sys.argv[1])
for fatal in range(1, 500):
    path = root / str(fatal) / "out"
    write(path, "first", False)
    child = os.fork()
    if child == 0:
        die_before(fatal)
        write(path, "second", True)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        sys.exit(0)
sys.exit("never got to the end")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_before_each_system_call(tmp_path: Path, run: Run) -> None:
    """SIGKILL while a finished result is being replaced: one of the two is whole, and the next run tidies up."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)]
    subprocess.run(command, check=True, timeout=300)
    places = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(places) > 20
    seen: set[str] = set()
    for place in places:
        target = place / "out"
        for folder in place.iterdir():
            assert_whole(folder)
        if target.exists():
            seen.add(read_result(target).provenance["word"])
        else:
            seen.add("between")
            with pytest.raises(ResultFolderError, match=r"the earlier one is in .*out\.old-\w{8}: rename it"):
                read_result(target)
        run(target, "third", overwrite=True)
        assert read_result(target).provenance["word"] == "third"
        assert not [folder for folder in place.iterdir() if folder != target and any(folder.iterdir())]
    assert seen == {"first", "between", "second"}


def test_killed_between_the_renames_the_old_result_comes_back(tmp_path: Path, run: Run) -> None:
    run(tmp_path / "out")
    os.rename(tmp_path / "out", tmp_path / "out.old-0123abcd")
    with pytest.raises(ResultFolderError, match="holds a finished result"):
        run(tmp_path / "out")
    assert read_result(tmp_path / "out").provenance["word"] == "first"
    assert os.listdir(tmp_path) == ["out"]
