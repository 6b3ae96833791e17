"""IDX, the format of MNIST and FashionMNIST: a header with the shape, then the bytes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ntkflow.data.official_files import beginning, read_whole
from ntkflow.errors import DataError

_UNSIGNED_BYTES = 8
_CONTENTS = {1: "labels", 3: "images"}


def read_idx(path: Path, shape: tuple[int, ...], whose: str) -> UInt8[np.ndarray, "..."]:
    """The array in an IDX file of unsigned bytes, gzipped or not.

    The header is two zero bytes, the kind of number, the number of dimensions, and each dimension as four bytes, the
    highest first; the values follow, the last dimension fastest.

    Args:
        path: of the file.
        shape: that it must have; of labels one number, of images three.
        whose: file this should be, for the messages: ``"MNIST's training images"``.

    Raises:
        DataError: a file that is damaged, of another format, of another shape, or shorter or longer than its header
            says.
    """
    expected = _CONTENTS[len(shape)]
    start = 4 + 4 * len(shape)
    data = read_whole(path, most=start + math.prod(shape))
    if len(data) < 4 or data[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise DataError(
            f"is no IDX file of unsigned bytes; {beginning(data)}",
            place=str(path),
            remedy=f"{whose} are expected here, as they were published.",
        )
    if data[3] != len(shape):
        found = _CONTENTS.get(data[3], f"an array of {data[3]} dimensions")
        raise DataError(
            f"holds {found}, and {expected} are expected in a file of this name",
            place=str(path),
            remedy="Were two files exchanged?" if data[3] in _CONTENTS else f"{whose} are expected here.",
        )
    held = tuple(int(number) for number in np.frombuffer(data[4:start], dtype=">u4")) if len(data) >= start else ()
    if held != shape:
        counted = "×".join(map(str, held)) if held else "nothing"
        raise DataError(
            f"holds {counted} according to its header; {whose} are {'×'.join(map(str, shape))}",
            place=str(path),
            remedy="Take the file as it was published.",
        )
    if len(data) != start + math.prod(shape):
        fault = (
            f"is cut off: {len(data) - start} of {math.prod(shape)} bytes of {expected} are there"
            if len(data) < start + math.prod(shape)
            else f"goes on after the {math.prod(shape)} bytes of {expected} that its header announces"
        )
        raise DataError(fault, place=str(path), remedy="Fetch it again.")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)
