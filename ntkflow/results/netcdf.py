"""A DataTree as the bytes of a NetCDF4 file, in which every number says what it is and in what unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

_ENGINE = "h5netcdf"
_REQUIRED = ("units", "long_name")
_WORTH_COMPRESSING = 16_384  # bytes; below, a chunk's bookkeeping costs more than it saves.


def encode(tree: xr.DataTree) -> memoryview:
    """The file's bytes, made in memory, because HDF5 on a full disk ends in pages of noise and a broken handle.

    Values keep their type (float64 stays float64, whatever encoding they came with); large arrays are compressed
    without loss.

    Raises:
        ValueError: a data variable lacks ``units`` or ``long_name`` (``units="1"`` is the unit of a pure number), or an
            attribute is of a kind that NetCDF cannot hold.
    """
    encoding: dict[str, dict[str, dict[str, Any]]] = {}
    for node in tree.subtree:
        own = node.to_dataset(inherit=False)
        for name, variable in own.data_vars.items():
            _require_description(node.path, str(name), variable.attrs)
        for place, attributes in [(node.path, own.attrs)] + [
            (_join(node.path, n), v.attrs) for n, v in own.variables.items()
        ]:
            _require_storable(place, attributes)
        encoding[node.path] = {str(name): _encoding(variable) for name, variable in own.variables.items()}
    return memoryview(tree.to_netcdf(engine=_ENGINE, encoding=encoding))


def open_tree(path: Any) -> xr.DataTree:
    """Opens a file of :func:`encode`; arrays are read when they are used."""
    return xr.open_datatree(path, engine=_ENGINE)


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    """Replaces whatever encoding the variable brought along, which might store it in fewer bits."""
    if variable.dtype.kind in "fiu" and variable.ndim and variable.nbytes >= _WORTH_COMPRESSING:
        return {"zlib": True, "complevel": 4, "shuffle": True}
    return {}


def _require_description(group: str, name: str, attributes: dict[Any, Any]) -> None:
    missing = [key for key in _REQUIRED if not str(attributes.get(key, "")).strip()]
    if missing:
        raise ValueError(f"data variable {_join(group, name)!r} has no {' and no '.join(missing)}")


def _require_storable(place: str, attributes: dict[Any, Any]) -> None:
    for key, value in attributes.items():
        if value is None or np.asarray(value).dtype.kind not in "fiuUS":
            raise ValueError(
                f"attribute {key!r} of {place!r} is {value!r}: NetCDF holds text, numbers and lists of either"
            )


def _join(group: str, name: Any) -> str:
    return f"{group.rstrip('/')}/{name}"
