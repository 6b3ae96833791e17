"""What there is at the place where a result shall go, and what a run may do about it."""

from __future__ import annotations

import enum
import os
from pathlib import Path

from ntkflow.errors import ResultFolderError
from ntkflow.results import manifest, marker
from ntkflow.results.failure import shown

_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".directory"})


class Standing(enum.Enum):
    """The kinds of thing that can be found at a path."""

    ABSENT = "nothing"
    EMPTY = "an empty folder"
    FINISHED = "a complete result"
    UNFINISHED = "what a stopped run left"
    BUSY = "a result that another process is writing"
    FOREIGN = "a folder that is not ntkflow's"
    FILE = "a file"


def standing(path: Path) -> Standing:
    """What is at ``path``. Ours is only what has a manifest of our format or the marker of a run."""
    if not os.path.lexists(path):
        return Standing.ABSENT
    if not path.is_dir():
        return Standing.FILE
    if not os.listdir(path):
        return Standing.EMPTY
    if manifest.is_ours(path):
        return Standing.FINISHED
    if marker.is_marked(path):
        return Standing.BUSY if marker.is_held(path) else Standing.UNFINISHED
    return Standing.FOREIGN


def refuse(path: Path, found: Standing, *, overwrite: bool) -> None:
    """Raises a :class:`ResultFolderError` unless a run may put its result at ``path``, where ``found`` is."""
    place = shown(path)
    if found is Standing.FILE:
        raise ResultFolderError("is a file, not a folder", place=place, remedy="Choose another result folder.")
    if found is Standing.FOREIGN:
        raise ResultFolderError(
            "is not empty and was not written by ntkflow, so nothing in it is touched",
            place=place,
            remedy="Choose another result folder; --overwrite does not help here.",
        )
    if found is Standing.BUSY:
        raise ResultFolderError(
            "another run is writing its result here now",
            place=place,
            remedy="Wait until it has finished, or choose another result folder.",
        )
    if found is Standing.UNFINISHED and not overwrite:
        raise ResultFolderError(
            "an earlier run was stopped before it finished, and what it wrote is still here",
            place=place,
            remedy="--overwrite starts again in its place; or choose another result folder.",
        )
    if found is Standing.FINISHED:
        if not overwrite:
            raise ResultFolderError(
                "holds a finished result",
                place=place,
                remedy="--overwrite replaces it, once the new one is complete; or choose another result folder.",
            )
        _refuse_to_move(path)


def _refuse_to_move(path: Path) -> None:
    """A finished result is renamed and deleted when the new one is ready: nothing of the user's may go with it."""
    place = shown(path)
    if os.path.ismount(path) or Path.cwd().is_relative_to(path):
        what = "cannot be replaced, because it is " + (
            "a mount point" if os.path.ismount(path) else "the current folder"
        )
        raise ResultFolderError(what, place=place, remedy="Run from another folder, or choose another result folder.")
    others = [name for name in manifest.files(path) if Path(name).name not in _LITTER]
    others = sorted(set(others) - manifest.listed(path))
    if others:
        names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise ResultFolderError(
            f"holds files that the run did not write, and they would be deleted with the old result: {names}",
            place=place,
            remedy="Move them away, or choose another result folder.",
        )
