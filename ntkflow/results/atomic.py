"""Files that are there whole or not at all.

A file gets its final name only after every byte of it is on the disk, so that a run killed at any moment leaves no
file that looks right and is not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

PARTIAL = ".partial"
"""How the name of a file that is being written ends; a killed run leaves it."""


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Puts ``data`` at ``path``: a temporary file in the same folder, fsync, ``os.replace``, fsync of the folder.

    Whatever stops it, Ctrl-C included, the temporary file goes away and ``path`` holds what it held before. (If only
    the last step fails, ``path`` holds the new bytes, whole, which may not survive a power cut.)
    """
    # Not tempfile.mkstemp: its files are readable by their owner only, whatever the umask says.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with open(partial, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Puts ``text`` at ``path`` as UTF-8 with the line ends it has, by :func:`write_bytes`."""
    write_bytes(path, text.encode())


def sync_folder(folder: Path) -> None:
    """Makes the names in ``folder`` last through a power cut, where the file system knows how to."""
    if os.name == "nt":  # Windows cannot open a folder.
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
