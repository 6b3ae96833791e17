"""Files of published data sets in a folder that the user names: found, and read whole."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

from ntkflow.errors import DataError

_GZIP = b"\x1f\x8b"


def require_folder(folder: Path, how: str) -> None:
    """Raises :class:`DataError` with the remedy ``how`` unless there is such a folder."""
    if folder.is_file():
        what = "is a file, and a folder is needed"
        raise DataError(what, place=str(folder), remedy=f"An archive has to be unpacked first. {how}")
    if not folder.is_dir():
        raise DataError("there is no such folder", place=str(folder), remedy=how)


def find_file(folder: Path, names: Sequence[str], how: str) -> Path:
    """The first of the names that is a file in the folder.

    Raises:
        DataError: none of them is; ``how`` is the remedy.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"there is no {names[0]}", place=str(folder), remedy=how)


def read_whole(path: Path, *, most: int) -> bytes:
    """The content of a file, unpacked if it is gzipped, whatever the file is called.

    Args:
        path: of the file.
        most: bytes that are read at most, before and after unpacking, so that no file fills the memory. A longer
            content is returned cut off, one byte longer than ``most``.

    Raises:
        DataError: a file that cannot be read, is empty, or whose gzip stream is damaged or ends early.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", place=str(path)) from None
    if not data:
        raise DataError("the file is empty", place=str(path), remedy="Fetch it again.")
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            content = stream.read(most + 1)
    except EOFError:
        raise DataError(
            "the gzipped file is cut off: its stream ends early", place=str(path), remedy="Fetch it again."
        ) from None
    except (OSError, zlib.error):
        raise DataError("the gzipped file is damaged", place=str(path), remedy="Fetch it again.") from None
    if content.startswith(_GZIP):
        raise DataError("the file is gzipped twice", place=str(path), remedy="Unpack it once.")
    return content


def beginning(data: bytes) -> str:
    """What a file that is not what was expected seems to be, in words."""
    start = data.lstrip()[:1]
    if start == b"<":
        return "it looks like a web page, perhaps one that was saved in place of the file"
    if data.startswith((b"PK", b"ustar")) or data[257:262] == b"ustar":
        return "it looks like an archive"
    return f"it begins with the bytes {data[:4].hex(' ')}"
