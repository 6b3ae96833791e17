"""The `dispersion` kind: a stopped grid goes on, estimates are near the formulas, mistakes are said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ntkflow.experiments.dispersion_run import run_grid
from ntkflow.progress import silent
from ntkflow.scenario import Architecture, DispersionScenario

KEYS: dict[str, Any] = {
    "kind": "dispersion",
    "name": "small",
    "architectures": [{"width": 10}, {"first": 4, "last": 9}],
    "sigma_w_squared": [1.0, 2.0],
    "depths": [1, 3],
    "monte_carlo": {"samples": 3000},
}


def test_a_stopped_grid_goes_on(tmp_path: Path) -> None:
    scenario = DispersionScenario.model_validate(KEYS)

    class Stop(Exception):
        pass

    def stop(stage: str, done: float, total: float) -> None:
        if stage == "networks" and done == 2:
            raise Stop

    with pytest.raises(Stop):
        run_grid(scenario, checkpoints=tmp_path, progress=stop)
    kept = (tmp_path / "points.json").read_text()
    assert kept.count("largest_share") == 2
    marked = kept.replace('"samples": [3000.0, 3000.0]', '"samples": [7.0, 7.0]', 1)
    (tmp_path / "points.json").write_text(marked)
    found = run_grid(scenario, checkpoints=tmp_path, progress=silent).measured
    whole = run_grid(scenario, checkpoints=None, progress=silent)
    assert found is not None
    assert whole.measured is not None
    # What was there is taken, not drawn again; the rest is as without a stop.
    assert found["samples"].ravel()[0] == 7
    assert np.array_equal(found["dispersion"], whole.measured["dispersion"])
    away = np.abs(whole.measured["dispersion"][:, :, 0, 0] - whole.formulas["exact"])
    assert np.all(away <= 4 * whole.measured["standard_error"][:, :, 0, 0] + 1e-12)


def test_widths_on_a_line() -> None:
    assert Architecture(first=100, last=500).widths(4, 1.0) == (100, 200, 300, 400)
    assert Architecture(first=9, last=4).widths(3, 1.0) == (9, 8, 6)
    assert Architecture(width=10).widths(3, 0.5) == (5, 10, 10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth_to_width": [0.1]}, "either depths or depth_to_width"),
        ({"depths": [3, 2]}, "depths must increase"),
        ({"activation": "tanh", "monte_carlo": None}, "no formula"),
        ({"architectures": [{"width": 3, "first": 2}]}, "either width, or first and last"),
    ],
)
def test_mistakes(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DispersionScenario.model_validate({**KEYS, **change})
