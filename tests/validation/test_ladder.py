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
def test_the_order_of_the_ladder(tree: xr.DataTree, capsys: pytest.CaptureFixture[str]) -> None:
    """Within class, forecast over real: 1 000 steps after step 1 000, and after an e-fold from each snapshot."""
    group = tree["ladder"].to_dataset()
    ratios = np.exp(group["log_ratio"].to_numpy())
    models = [str(name) for name in tree["theory"]["model"].to_numpy()]
    after = {model: within_class(tree, model, "step 1000", 1000) / real(tree, "step 1000", 1000) for model in models}
    with capsys.disabled():
        print("\nwithin-class norm, forecast over real, 1 000 steps after step 1 000")
        for model, ratio in after.items():
            print(f"  {model:18s} {ratio:.3f}")
        print("and after an e-fold, by snapshot\n", group["rung"].to_numpy(), "\n", ratios.round(3))
    assert group["rung"].to_numpy().tolist() == list(ORDER)
    # Once the kernel has settled: each assumption makes the forecast fall faster, or leaves it (to 3 %).
    assert (np.diff(ratios[1:], axis=1) <= 0.03 * ratios[1:, :-1]).all()
    assert abs(after["full_frozen"] - 1) <= 0.10
    assert (ratios[1:, -1] < 0.25).all()


@pytest.mark.slow
def test_kernels_updated_at_snapshots(tree: xr.DataTree, capsys: pytest.CaptureFixture[str]) -> None:
    """To the end of the run from each snapshot, within class: the mean Jacobian within 5 %, kernels of moments not."""
    theory, comparison = tree["theory"].to_dataset(), tree["comparison"].to_dataset()
    worst = {
        model: comparison["norm_error"].sel(model=model).max("point").to_numpy()[:, 2]
        for model in ("mean_jacobian_linear", "mean_jacobian", "updated_linear", "updated", "full_frozen")
    }
    with capsys.disabled():
        print("\nlargest error of the within-class norm to the end of the run, from", theory["snapshot"].to_numpy())
        for model, values in worst.items():
            print(f"  {model:22s}", values.round(4))
    assert (worst["mean_jacobian_linear"][1:] <= 0.05).all()
    assert (worst["updated_linear"][1:-1] > 0.05).any()


@pytest.mark.slow
def test_without_kinks_the_kernel_of_a_moment_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    """The same network with tanh."""
    changes = ["network.activation=tanh", "forecast.models=[updated_linear, updated, full_frozen]"]
    loaded = load_scenario(SCENARIO, changes)
    tree = experiment(loaded.scenario, folder=SCENARIO.parent, text=resolved_yaml(loaded.scenario)).tree
    errors = tree["comparison"]["norm_error"].max("point").to_numpy()[..., 2]
    with capsys.disabled():
        print("\ntanh, largest error of the within-class norm to the end, snapshots × models\n", errors.round(4))
    assert (errors[1:, :2] <= 0.02).all()
