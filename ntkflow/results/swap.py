"""Replaces a finished result by a newer one so that, whenever it is stopped, one of them is whole.

The new result grows in a sibling folder ``NAME.unfinished-TAG``. When it is complete the old one is renamed
``NAME.old-TAG``, the new one gets the name, and the old one is deleted.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import warnings
from pathlib import Path

from ntkflow.results import atomic, manifest, marker
from ntkflow.results.failure import reason, shown
from ntkflow.results.standing import Standing, refuse, standing

_NEW = ".unfinished-"
_OLD = ".old-"


def stage(target: Path) -> Path:
    """Makes an empty sibling of ``target`` for a new result to grow in."""
    staging = target.with_name(f"{target.name}{_NEW}{secrets.token_hex(4)}")
    staging.mkdir()
    return staging


def staged(target: Path) -> list[Path]:
    """Siblings of ``target`` in which stopped runs left what was to replace it."""
    return [folder for folder in _siblings(target, _NEW) if marker.is_marked(folder) and not marker.is_held(folder)]


def sweep(target: Path) -> None:
    """Deletes what killed runs left beside ``target``: siblings of our naming that bear a marker nobody holds."""
    for folder in _siblings(target, _NEW) + _siblings(target, _OLD):
        if marker.is_marked(folder) and not marker.is_held(folder):
            marker.discard(folder)


def restore(target: Path) -> None:
    """Gives a finished result its name back if a run was killed between the two renames of :func:`replace`."""
    if os.path.lexists(target):
        return
    for folder in _siblings(target, _OLD):
        if manifest.is_ours(folder) and not marker.is_held(folder):
            os.rename(folder, target)
            atomic.sync_folder(target.parent)
            marker.take_away(target)
            return


def moved_aside(target: Path) -> Path | None:
    """Where the finished result ``target`` is, if a run was killed between the two renames."""
    return next((folder for folder in _siblings(target, _OLD) if manifest.is_ours(folder)), None)


def replace(target: Path, staging: Path) -> None:
    """Puts the complete result ``staging`` in the place of ``target``, and deletes what was there.

    An error from here means that ``target`` is as it was and ``staging`` is where it was. The old result bears a marker
    while it is out of its place, so that the next run knows it for ours if this one is killed before it has deleted it.
    """
    found = standing(target)
    # Things may have changed since the run began, and what it was told to replace is a finished result.
    refuse(target, found, overwrite=found is Standing.FINISHED)
    if found is not Standing.FINISHED:
        os.replace(staging, target)
        atomic.sync_folder(target.parent)
        return
    aside = target.with_name(f"{target.name}{_OLD}{secrets.token_hex(4)}")
    marker.take_away(target)
    mark = marker.Marker(target)
    try:
        os.replace(target, aside)
        os.replace(staging, target)
    except BaseException:
        with contextlib.suppress(OSError):  # It fails, rightly, if the new result is in place.
            os.replace(aside, target)
        with contextlib.suppress(OSError):
            mark.remove(target)
        raise
    try:
        atomic.sync_folder(target.parent)
        marker.discard(aside)
    except OSError as error:
        warnings.warn(f"{shown(aside)}: the replaced result could not be deleted: {reason(error)}", stacklevel=3)
    finally:
        mark.release()


def _siblings(target: Path, infix: str) -> list[Path]:
    pattern = glob.escape(str(target) + infix) + "[0-9a-f]" * 8
    return [Path(name) for name in sorted(glob.glob(pattern)) if os.path.isdir(name) and not os.path.islink(name)]
