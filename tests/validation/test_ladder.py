"""The ladder on real digits, at its full size: scenarios/ladder.yaml."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ntkflow.comparison import LADDER, Model
from ntkflow.experiments import experiment
from ntkflow.scenario import load_scenario, resolved_yaml

SCENARIO = Path(__file__).parents[2] / "scenarios" / "ladder.yaml"
STEP = 0.01
ORDER: tuple[Model, ...] = LADDER
"""From the weakest assumption to the strongest: in the design notes' table each falls faster than the one before."""


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    loaded = load_scenario(SCENARIO)
    return experiment(loaded.scenario, folder=SCENARIO.parent, text=resolved_yaml(loaded.scenario)).tree


def within_class(tree: xr.DataTree, model: str, snapshot: str, steps: int) -> float:
    """The forecast within-class norm so many steps after a snapshot, between two compared times by its logarithm."""
    theory = tree["theory"].to_dataset().sel(snapshot=snapshot)
    since = (theory["forecast_time"].to_numpy() - float(theory["snapshot_time"])) / STEP
    norms = theory["forecast_norm"].sel(model=model).to_numpy()[:, 2]
    return float(np.exp(np.interp(steps, since, np.log(norms))))


def real(tree: xr.DataTree, snapshot: str, steps: int) -> float:
    first = int(snapshot.removeprefix("step "))
    return float(tree["training"]["residual_norm"].to_numpy()[first + steps, 2])


@pytest.mark.slow
def test_the_table_of_the_design_notes(tree: xr.DataTree, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        model: [within_class(tree, model, "step 1000", steps) for steps in (200, 1000)]
        for model in (str(name) for name in tree["theory"]["model"].to_numpy())
    }
    truth = [real(tree, "step 1000", steps) for steps in (200, 1000)]
    with capsys.disabled():
        print("\nwithin-class residual norm 200 and 1 000 steps after step 1 000")
        print(f"  {'real training':18s} {truth[0]:.3f} {truth[1]:.3f}")
        for model, (near, far) in rows.items():
            print(f"  {model:18s} {near:.3f} {far:.3f}")
    for place in (0, 1):
        found = [rows[model][place] for model in ORDER]
        assert found == sorted(found, reverse=True)
    assert abs(rows["full_frozen"][1] / truth[1] - 1) <= 0.10
    assert rows["three_values"][1] < 0.2 * truth[1]


@pytest.mark.slow
def test_kernels_updated_at_snapshots(tree: xr.DataTree, capsys: pytest.CaptureFixture[str]) -> None:
    """From the first snapshot after the beginning to the end of the run."""
    error = tree["comparison"]["total_error"].sel(snapshot="step 500")
    worst = {model: float(error.sel(model=model).max()) for model in ("full_frozen", "updated", "updated_linear")}
    part = tree["comparison"]["norm_error"].sel(snapshot="step 500").isel(part=2)
    worst_part = {model: float(part.sel(model=model).max()) for model in worst}
    with capsys.disabled():
        print("\nlargest error from step 500 to the end, %, whole residual and within class")
        for model, value in worst.items():
            print(f"  {model:18s} {100 * value:.1f} {100 * worst_part[model]:.1f}")
    assert worst_part["updated_linear"] <= 0.05
    assert worst_part["updated_linear"] < worst_part["full_frozen"]
