"""NumPy archives (.npz) given by the user: read whole, checked, and refused with a reason."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ntkflow.data.dataset import Dataset, balanced_dataset
from ntkflow.data.labels import LabelEncoding
from ntkflow.data.samples import Samples
from ntkflow.errors import DataError


def read_archive(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of a .npz file, numeric ones only, never unpickled.

    Raises:
        DataError: no such file, not an archive, damaged, an array missing, or not numeric.
    """
    wanted = f"Write it with numpy.savez(path, {', '.join(f'{name}=...' for name in names)})."
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError("no such file", place=str(path), remedy=wanted) from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", place=str(path), remedy=wanted) from None
    whole = DataError("is not a whole NumPy archive of numeric arrays", place=str(path), remedy=wanted)
    try:
        archive = np.load(io.BytesIO(data), allow_pickle=False)
        held = {name: archive[name] for name in archive.files}
    except Exception:
        # A damaged archive fails in NumPy, zipfile or zlib with a dozen kinds of exception; all mean this.
        raise whole from None
    missing = [name for name in names if name not in held]
    if missing:
        raise DataError(
            f"has no array {missing[0]!r}; it holds {', '.join(held) or 'nothing'}", place=str(path), remedy=wanted
        )
    arrays = {name: held[name] for name in names}
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise whole
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"array {name!r} holds {array.dtype}, not numbers", place=str(path))
    return arrays


def read_own_samples(path: Path) -> Samples:
    """The user's own data: arrays ``inputs`` (samples, …), used as they are, and ``labels`` (samples,), whole from 0.

    Inputs of shape (samples, rows, columns) or (samples, channels, rows, columns) are images.

    Raises:
        DataError: whatever :func:`read_archive` refuses, or arrays that are no inputs or no labels.
    """
    arrays = read_archive(path, ("inputs", "labels"))
    inputs, labels = arrays["inputs"], arrays["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels must be one row of whole numbers, not {labels.dtype} of shape {labels.shape}", place=str(path)
        )
    if inputs.ndim < 2:
        raise DataError(f"inputs must have shape (samples, …), not {inputs.shape}", place=str(path))
    image_shape = None
    if inputs.ndim in (3, 4):
        *channels, rows, columns = inputs.shape[1:]
        image_shape = (channels[0] if channels else 1, rows, columns)
    with np.errstate(over="ignore"):
        # What float64 cannot hold becomes infinite, and is refused as that when samples are chosen.
        inputs = inputs.astype(float)
    return Samples(str(path), inputs, labels.astype(int), image_shape=image_shape)


def load_file(path: Path, *, samples_per_class: int, encoding: LabelEncoding = "one_hot", seed: int) -> Dataset:
    """The user's own data, a chosen number of each class, the rest for testing.

    Raises:
        DataError: whatever :func:`read_own_samples` and :func:`ntkflow.data.balanced_dataset` refuse.
    """
    return balanced_dataset(read_own_samples(path), samples_per_class=samples_per_class, encoding=encoding, seed=seed)
