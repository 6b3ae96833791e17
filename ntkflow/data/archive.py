"""NumPy archives (.npz) given by the user: read whole, checked, and refused with a reason."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ntkflow.data.dataset import Dataset, balanced_dataset
from ntkflow.data.labels import LabelEncoding
from ntkflow.errors import DataError


def read_archive(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of a .npz file, numeric ones only, never unpickled.

    Raises:
        DataError: no such file, not an archive, damaged, an array missing, or not numeric.
    """
    wanted = f"Write it with numpy.savez(path, {', '.join(f'{name}=...' for name in names)})."
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise DataError(
                    f"has no array {missing[0]!r}; it holds {', '.join(archive.files) or 'nothing'}",
                    place=str(path),
                    remedy=wanted,
                )
            arrays = {name: archive[name] for name in names}
    except FileNotFoundError:
        raise DataError("no such file", place=str(path), remedy=wanted) from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", place=str(path), remedy=wanted) from None
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError):
        raise DataError("is not a whole NumPy archive of numeric arrays", place=str(path), remedy=wanted) from None
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"array {name!r} holds {array.dtype}, not numbers", place=str(path))
    return arrays


def load_file(path: Path, *, samples_per_class: int, encoding: LabelEncoding = "one_hot", seed: int) -> Dataset:
    """The user's own data: arrays ``inputs`` (samples, …), used as they are, and ``labels`` (samples,), whole from 0.

    Raises:
        DataError: whatever :func:`read_archive` and :func:`ntkflow.data.balanced_dataset` refuse.
    """
    arrays = read_archive(path, ("inputs", "labels"))
    inputs, labels = arrays["inputs"], arrays["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels must be one row of whole numbers, not {labels.dtype} of shape {labels.shape}", place=str(path)
        )
    if inputs.ndim < 2:
        raise DataError(f"inputs must have shape (samples, …), not {inputs.shape}", place=str(path))
    return balanced_dataset(
        str(path),
        inputs.astype(float),
        labels.astype(int),
        samples_per_class=samples_per_class,
        encoding=encoding,
        normalization="values as in the file",
        seed=seed,
    )
