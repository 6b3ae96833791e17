"""The Python version of CIFAR-10's batches: pickles, read without running anything that is in them."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ntkflow.data.official_files import beginning
from ntkflow.errors import DataError


class _Array:
    """Stands where the pickle has an array: keeps what NumPy would be told, and lets NumPy do nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype:
    """Stands where the pickle has the dtype of an array."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        pass


class _Refused(Exception):
    """The pickle asks for something that no published batch needs."""


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _BatchUnpickler(pickle.Unpickler):
    """Knows the three names in a published batch, each as one of the stand-ins above, and no other.

    So the pickle can call nothing but these two classes, and make nothing but numbers, bytes, lists and dictionaries.
    """

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _KNOWN[module_name, global_name]
        except KeyError:
            raise _Refused(f"{module_name}.{global_name}") from None


def read_pickled_batch(
    data: bytes, path: Path, shape: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "samples pixels"], UInt8[np.ndarray, " samples"]]:
    """Pixels and labels of a batch: a dictionary with an array ``data`` and a list ``labels``, pickled by Python 2.

    Args:
        data: content of the file.
        path: its name, for the messages.
        shape: that the array must have.

    Raises:
        DataError: anything else than a whole batch of that shape.
    """
    try:
        _require_small_memo(data)
        batch = _BatchUnpickler(io.BytesIO(data), encoding="bytes").load()
    except _Refused as error:
        raise DataError(
            f"the pickle asks for {error}, which no published batch of CIFAR-10 does; nothing of it was run",
            place=str(path),
            remedy="Do not use this file with any program. Take the published one.",
        ) from None
    except Exception:
        # A pickle that is damaged fails in as many ways as there are bytes in it.
        what = f"is no whole batch in the published Python format; {beginning(data)}"
        raise DataError(what, place=str(path), remedy="Fetch it again.") from None
    if isinstance(batch, dict) and b"fine_labels" in batch:
        raise DataError("this is CIFAR-100, and not CIFAR-10", place=str(path), remedy="Name the folder of CIFAR-10.")
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= set(batch):
        raise DataError("the batch has no data and labels", place=str(path), remedy="Take the published file.")
    pixels, labels = _pixels(batch[b"data"], shape), _labels(batch[b"labels"])
    if pixels is None:
        what = f"the batch's data are no array of {shape[0]}×{shape[1]} bytes"
        raise DataError(what, place=str(path), remedy="Take the published file.")
    if labels is None:
        what = "the batch's labels are no list of whole numbers from 0 to 9"
        raise DataError(what, place=str(path), remedy="Take the published file.")
    if len(labels) != shape[0]:
        what = f"there are {shape[0]} images, but {len(labels)} labels"
        raise DataError(what, place=str(path), remedy="Take the published file.")
    return pixels, labels


def _require_small_memo(data: bytes) -> None:
    """Raises ``ValueError`` if the pickle numbers its objects beyond what it can hold: Python would fill the memory."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(data):
            raise ValueError(f"object {argument}")


def _pixels(array: Any, shape: tuple[int, int]) -> np.ndarray | None:
    match array:
        # Version, shape, dtype, whether columns come first, and the bytes.
        case _Array(state=(_, held, _Dtype(arguments=(b"u1" | "u1", *_)), columns_first, bytes(content))):
            if held == shape and len(content) == math.prod(shape):
                return np.frombuffer(content, np.uint8).reshape(shape, order="F" if columns_first else "C")
    return None


def _labels(labels: Any) -> np.ndarray | None:
    fine = isinstance(labels, list) and all(type(label) is int and 0 <= label <= 9 for label in labels)
    return np.array(labels, dtype=np.uint8) if fine else None
