"""The NetCDF file of a run that is known by arrays: H, W, b and kernels at several moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Integer

from ntkflow.errors import DataError
from ntkflow.training import MeasuredMoment

KERNELS = {
    "feature_whole_kernel": ("moment", "feature", "sample", "feature_2", "sample_2"),
    "feature_own_kernel": ("moment", "feature", "sample", "sample_2"),
    "feature_kernel": ("moment", "sample", "sample_2"),
}
"""Names and dimensions of Θʰ in its three forms, from the most detailed; the last is also what a result holds."""
_NEEDED = {
    "label": ("sample",),
    "moment_time": ("moment",),
    "features": ("moment", "feature", "sample"),
    "weight": ("moment", "output", "feature"),
    "bias": ("moment", "output"),
}
_OPTIONAL = {"logit_kernel": ("moment", "sample", "sample_2"), "moment_step": ("moment",)}


def read_measured_run(path: Path | str) -> tuple[tuple[MeasuredMoment, ...], Integer[np.ndarray, " samples"]]:
    """Moments and labels from a NetCDF file, for :func:`ntkflow.compare_arrays`.

    The file holds, by name (dimensions): ``label`` (sample), ``moment_time`` (moment), ``features`` (moment, feature,
    sample), ``weight`` (moment, output, feature), ``bias`` (moment, output), and Θʰ as one of ``feature_kernel``
    (moment, sample, sample_2), ``feature_own_kernel`` (moment, feature, sample, sample_2) or ``feature_whole_kernel``
    (moment, feature, sample, feature_2, sample_2), of which the most detailed is taken; further ``logit_kernel``
    (moment, sample, sample_2) and ``moment_step`` (moment) where they are known. Their meanings are those of
    :class:`ntkflow.training.MeasuredMoment`. Variables of these names may stand at the root or in a group
    ``training``, where ``ntkflow`` itself writes them (but for ``label``).

    Raises:
        DataError: no file, one that cannot be read, or one without a variable that is needed or with other dimensions.
    """
    path = Path(path)
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            group = tree["training"] if "training" in tree.children else tree
            found = group.to_dataset().load()
    except FileNotFoundError:
        raise DataError("there is no such file", place=str(path), remedy="Give the path of a NetCDF file.") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"cannot be read as NetCDF: {error}", place=str(path), remedy="Write it again, with xarray for example."
        ) from None
    kernel = next((name for name in KERNELS if name in found), None)
    if kernel is None:
        raise DataError(
            f"holds no kernel of the features: none of {', '.join(KERNELS)}",
            place=str(path),
            remedy=f"Add one, with the dimensions {' or '.join(map(str, KERNELS.values()))}.",
        )
    optional = {name: shape for name, shape in _OPTIONAL.items() if name in found}
    arrays = {
        name: _variable(found, name, dimensions, path)
        for name, dimensions in {**_NEEDED, kernel: KERNELS[kernel], **optional}.items()
    }
    moments = tuple(
        MeasuredMoment(
            time=float(arrays["moment_time"][index]),
            features=arrays["features"][index],
            weight=arrays["weight"][index],
            bias=arrays["bias"][index],
            kernel=arrays[kernel][index],
            logit_kernel=arrays["logit_kernel"][index] if "logit_kernel" in arrays else None,
            step=int(arrays["moment_step"][index]) if "moment_step" in arrays else None,
        )
        for index in range(len(arrays["moment_time"]))
    )
    return moments, arrays["label"]


def _variable(found: xr.Dataset, name: str, dimensions: tuple[str, ...], path: Path) -> np.ndarray:
    if name not in found.variables:
        raise DataError(
            f"holds no {name}", place=str(path), remedy=f"Add the variable {name} with the dimensions {dimensions}."
        )
    variable = found[name]
    if set(variable.dims) != set(dimensions):
        raise DataError(
            f"{name} has the dimensions {tuple(map(str, variable.dims))}, not {dimensions}",
            place=str(path),
            remedy="Name the dimensions so; their order is free.",
        )
    values = variable.transpose(*dimensions).to_numpy()
    if name == "label" and values.dtype.kind not in "iu":
        raise DataError(f"label is of type {values.dtype}", place=str(path), remedy="Labels are whole numbers from 0.")
    if values.dtype.kind not in "iuf":
        raise DataError(f"{name} is of type {values.dtype}", place=str(path), remedy="Write it as numbers.")
    return values
