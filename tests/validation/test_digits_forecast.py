"""The claim of scenarios/digits.yaml at its full size, and how it depends on the seed and the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ntkflow.experiments import experiment
from ntkflow.scenario import load_scenario, resolved_yaml

DIGITS = Path(__file__).parents[2] / "scenarios" / "digits.yaml"
RELU = (
    "network.activation=relu",
    "network.width=96",
    "network.hidden_layers=2",
    "network.features=48",
    "data.labels=one_hot",
)


def run(*overrides: str) -> xr.DataTree:
    loaded = load_scenario(DIGITS, overrides)
    return experiment(loaded.scenario, folder=DIGITS.parent, text=resolved_yaml(loaded.scenario)).tree


def errors_over_e_fold(tree: xr.DataTree, model: str) -> np.ndarray:
    """Snapshots × (global mean, class means, within class, whole, slowest part): largest error over an e-fold, %."""
    comparison, theory = tree["comparison"].to_dataset(), tree["theory"].to_dataset()
    rows = []
    for index in range(theory.sizes["snapshot"]):
        e_folds = comparison["e_fold_time"].to_numpy()[index]
        judged = float(comparison["judged_time"][index])
        since = theory["forecast_time"].to_numpy()[index] - theory["snapshot_time"].to_numpy()[index]
        within = since <= judged * (1 + 1e-12)
        parts = comparison["norm_error"].sel(model=model).to_numpy()[index][within].max(axis=0)
        whole = comparison["total_error"].sel(model=model).to_numpy()[index][within].max()
        slowest = max(np.flatnonzero(~np.isnan(e_folds)), key=lambda part: (e_folds[part], part))
        rows.append([*parts, whole, parts[slowest]])
    return 100 * np.array(rows)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_full_frozen_forecast_holds_over_the_slowest_e_fold(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    tree = run(f"seed={seed}")
    frozen, three = errors_over_e_fold(tree, "full_frozen"), errors_over_e_fold(tree, "three_values")
    with capsys.disabled():
        print(f"\nseed {seed}, % (global mean, class means, within class, whole residual, slowest part)")
        print("full frozen\n", frozen.round(1), "\nthree values\n", three.round(1))
    # The whole residual and its slowest part. The global mean is reported only: after the first steps it is below 1 %
    # of the residual and follows the others.
    assert (frozen[:, 3:] <= 10).all()
    assert (three[:, 4] > 50).all()


@pytest.mark.slow
def test_relu_network_of_the_design_notes(capsys: pytest.CaptureFixture[str]) -> None:
    tree = run(*RELU, "training.step_size=0.01", "training.steps=8000", "training.snapshots=[0, 1000]")
    frozen, three = errors_over_e_fold(tree, "full_frozen"), errors_over_e_fold(tree, "three_values")
    with capsys.disabled():
        print("\nReLU 64-96-96-48-10, % (global mean, class means, within class, whole residual, slowest part)")
        print("full frozen\n", frozen.round(1), "\nthree values\n", three.round(1))
    # From the initial weights this network leaves its kernel too soon (recorded in docs/validation.md).
    assert frozen[1, 4] <= 10
    assert (three[:, 4] > 50).all()
