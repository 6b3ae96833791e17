"""A DataTree comes back from NetCDF as it went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ntkflow.results import ResultFolder, netcdf


def variable(values: Any, dims: tuple[str, ...] = ("time",), **attributes: Any) -> xr.Variable:
    return xr.Variable(dims, values, {"units": "1", "long_name": "a number", **attributes})


@pytest.fixture
def tree() -> xr.DataTree:
    random = np.random.default_rng(0)
    times = {"time": ("time", np.geomspace(1e-3, 1e3, 4), {"units": "t", "long_name": "gradient-flow time"})}
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"title": "ü", "rates": [1.5, 2.5], "steps": 7}),
            "/flow": xr.Dataset(
                {
                    "loss": variable([1.0, np.nan, np.inf, -0.0], loss_scale="one"),
                    "steps": variable(np.arange(4, dtype=np.int64)),
                    "converged": variable([True, False, True, True]),
                    "label": variable(["a", "ü", "", "long"]),
                },
                coords=times,
            ),
            "/flow/kernel": xr.Dataset({"kernel": variable(random.random((4, 60, 60)), ("time", "row", "column"))}),
            "/flow/single": xr.Dataset({"loss": variable(np.array([1, 2], np.float32), ("seed",))}),
        }
    )


def test_round_trip(tmp_path: Path, tree: xr.DataTree) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    folder.write_tree("results.nc", tree)
    with netcdf.open_tree(folder.path / "results.nc") as read:
        assert read.identical(tree)
        kernel = read["flow/kernel/kernel"]
        assert kernel.dtype == np.float64
        assert kernel.encoding["zlib"]
        assert kernel.encoding["complevel"] == 4
        assert read["flow/single/loss"].dtype == np.float32
        assert not read["flow/loss"].encoding["zlib"]
    assert [path.name for path in folder.path.iterdir() if path.name != "UNFINISHED"] == ["results.nc"]


def test_the_same_tree_gives_the_same_bytes(tree: xr.DataTree) -> None:
    assert netcdf.encode(tree) == netcdf.encode(tree)


def test_an_encoding_that_loses_digits_is_dropped(tmp_path: Path) -> None:
    narrow = variable([1.0, 1 / 3])
    narrow.encoding = {"dtype": "int16", "scale_factor": 0.1}
    path = tmp_path / "file.nc"
    path.write_bytes(netcdf.encode(xr.DataTree(xr.Dataset({"x": narrow}))))
    with netcdf.open_tree(path) as read:
        np.testing.assert_array_equal(read["x"], [1.0, 1 / 3])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"long_name": "loss"}, "'/flow/loss' has no units"),
        ({"units": "1"}, "'/flow/loss' has no long_name"),
        ({"units": " ", "long_name": ""}, "'/flow/loss' has no units and no long_name"),
        ({"units": "1", "long_name": "loss", "flag": True}, "attribute 'flag' of '/flow/loss' is True"),
        ({"units": "1", "long_name": "loss", "empty": None}, "attribute 'empty' of '/flow/loss' is None"),
    ],
)
def test_variables_say_what_they_are(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    tree = xr.DataTree.from_dict({"/flow": xr.Dataset({"loss": ("time", [1.0], attributes)})})
    with pytest.raises(ValueError, match=message):
        folder.write_tree("results.nc", tree)
    assert not (folder.path / "results.nc").exists()
