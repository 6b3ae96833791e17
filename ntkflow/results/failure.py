"""Turns the operating system's refusals into messages with a place and a remedy."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ntkflow.errors import ResultFolderError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NOT_A_FOLDER = (errno.ENOTDIR, errno.EEXIST)


def shown(path: Path) -> str:
    """A path as a user knows it: relative to the current folder if it lies inside, else in full."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


@contextlib.contextmanager
def told(what: str, place: Path) -> Iterator[None]:
    """Raises a :class:`ResultFolderError` in place of an ``OSError`` from inside; ``what`` says what was not done."""
    try:
        yield
    except OSError as error:
        raise ResultFolderError(f"{what}: {reason(error)}", place=shown(place), remedy=_remedy(error, place)) from error


def reason(error: OSError) -> str:
    """The system's own words for an error, without the number and the path."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _remedy(error: OSError, place: Path) -> str:
    if error.errno in _FULL:
        return "Free some space, or choose a result folder on another disk."
    if error.errno in _FORBIDDEN:
        return "Choose a result folder in a place where you may write."
    if error.errno in _NOT_A_FOLDER:
        file = next((path for path in (place, *place.parents) if path.is_file()), place)
        return f"{shown(file)} is a file and in the way; choose another result folder."
    return "Choose another result folder, or mend the cause and run again."
