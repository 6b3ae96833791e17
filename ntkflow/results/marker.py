"""The file ``UNFINISHED``: whose folder this is, and whether somebody is writing in it now.

A result folder bears it from its first moment until its manifest is in place. The run that planted it keeps it locked;
the operating system drops the lock when the run ends, however it ends, so that a killed run and a living one can be
told apart.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import weakref
from pathlib import Path

from ntkflow.results import atomic

try:
    import fcntl
except ImportError:  # Windows: no locks, so every unfinished folder counts as abandoned.
    fcntl = None

NAME = "UNFINISHED"
_OPENING = "ntkflow-result\n"
_TOKEN = secrets.token_hex(8)
_TEXT = (
    f"{_OPENING}\nA run is writing its result here, or was stopped before it finished.\n"
    "A complete result has a manifest.json and no file of this name.\n\n"
)


class Marker:
    """A planted marker, locked until :meth:`release`, :meth:`remove`, or the end of the process."""

    def __init__(self, folder: Path, *, adopt: bool = False) -> None:
        """Plants a marker in ``folder``, or takes over the one that a stopped run left there.

        Raises:
            FileExistsError: there is a marker, and it is not to be adopted.
            BlockingIOError: the marker to be adopted belongs to a living run.
        """
        flags = os.O_RDWR if adopt else os.O_RDWR | os.O_CREAT | os.O_EXCL
        descriptor = os.open(folder / NAME, flags, 0o666)
        self._close = weakref.finalize(self, os.close, descriptor)
        if adopt:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # A file system without locks.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, (_TEXT + _process()).encode())
        os.fsync(descriptor)
        atomic.sync_folder(folder)

    def release(self) -> None:
        """Unlocks the marker and leaves it where it is."""
        self._close()

    def remove(self, folder: Path) -> None:
        """Takes the marker away from ``folder``, which may have been renamed since."""
        take_away(folder)
        self._close()


def is_marked(folder: Path) -> bool:
    """Whether ``folder`` bears a marker of ours. An empty one counts only in a folder that holds nothing else."""
    try:
        with open(folder / NAME, "rb") as stream:
            opening = stream.read(len(_OPENING))
    except OSError:
        return False
    return opening == _OPENING.encode() or (not opening and os.listdir(folder) == [NAME])


def is_held(folder: Path) -> bool:
    """Whether another process that is still alive planted the marker of ``folder``."""
    if fcntl is None:
        return False
    try:
        with open(folder / NAME, "rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _process().encode() not in stream.read()
    except OSError:
        pass
    return False


def take_away(folder: Path) -> None:
    """Removes the marker of ``folder`` if it has one."""
    (folder / NAME).unlink(missing_ok=True)
    atomic.sync_folder(folder)


def clear(folder: Path) -> None:
    """Deletes all that a marked folder holds, the marker last: stopped in the middle, the folder is known as ours."""
    # A manifest goes first, for it would call what is left complete.
    names = sorted(os.listdir(folder), key=lambda name: (name == NAME, name != "manifest.json"))
    for path in (folder / name for name in names):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def discard(folder: Path) -> None:
    """Deletes a marked folder."""
    clear(folder)
    folder.rmdir()


def _process() -> str:
    """Tells this process from every other one, its forks and those of other machines included."""
    return f"process {_TOKEN}-{os.getpid()}\n"
