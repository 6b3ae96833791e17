"""What a stopped run left, and whether the same run can go on from there."""

from __future__ import annotations

from pathlib import Path

from ntkflow.errors import ResultFolderError
from ntkflow.results import atomic, swap
from ntkflow.results.failure import shown
from ntkflow.results.standing import Standing

CHECKPOINTS = "checkpoints"
"""The folder inside a result where a run keeps what it can be resumed from."""
SCENARIO = "scenario.yaml"


def stopped_run(target: Path, found: Standing, text: str, *, overwrite: bool) -> Path | None:
    """The folder that a stopped run of the same scenario left, with or without something in it to go on from.

    In its place, or, where a finished result is there that it was to replace, beside it. What is not finished is not
    gone on from if it is to be overwritten: that is how a user starts again.

    Args:
        target: the final place of the result.
        found: what is there.
        text: the resolved scenario.
        overwrite: whether what is at ``target`` may be replaced.

    Raises:
        ResultFolderError: a run of another scenario was stopped there.
    """
    if found is Standing.UNFINISHED and not overwrite:
        written = _scenario(target)
        # Killed before it could write even that, a run has left nothing that could be lost.
        if written in (text, None):
            return target
        if _has_checkpoints(target):
            raise ResultFolderError(
                "a run of another scenario was stopped here, and this one cannot go on from it",
                place=shown(target),
                remedy="Run that scenario again to go on (its scenario.yaml is there); --overwrite starts this one in "
                "its place; or choose another result folder.",
            )
    if found is Standing.FINISHED and overwrite:
        return next((folder for folder in swap.staged(target) if _scenario(folder) == text), None)
    return None


def tidy(folder: Path) -> None:
    """Delete what a killed run left of files that it was writing."""
    for stray in folder.rglob(f".*{atomic.PARTIAL}"):
        stray.unlink(missing_ok=True)


def _scenario(folder: Path) -> str | None:
    try:
        return (folder / SCENARIO).read_bytes().decode(errors="replace")
    except OSError:
        return None


def _has_checkpoints(folder: Path) -> bool:
    checkpoints = folder / CHECKPOINTS
    return checkpoints.is_dir() and any(checkpoints.iterdir())
