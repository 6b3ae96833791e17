"""Rates of a training run: where the theory is exact, both agree; where there is no flow, there is no group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from experiments.test_training import described

from ntkflow.experiments import experiment
from ntkflow.kernels import EIGENSPACES
from ntkflow.results import Summary
from ntkflow.scenario import SCENARIO


def run(**changes: Any) -> tuple[xr.DataTree, Summary]:
    found = SCENARIO.validate_python(described(**changes))
    outcome = experiment(found, folder=Path(), text="")
    return outcome.tree, outcome.summary


FULL_BATCH: dict[str, Any] = {
    "network": {"kind": "mlp", "width": 24, "hidden_layers": 1, "features": 16, "activation": "tanh"},
    "training": {
        "optimizer": {"kind": "sgd", "momentum": 0.5, "nesterov": True},
        "step_size": 0.02,
        "schedule": {"kind": "constant"},
        "epochs": 30,
        "batch_per_class": None,
    },
    "records": {"epochs": list(range(1, 30)), "groups": ["residuals", "block_values"], "kernel_samples_per_class": 6},
    "checkpoints": {"snapshots": []},
}


@pytest.fixture(scope="module")
def full_batch() -> tuple[xr.DataTree, Summary]:
    return run(**FULL_BATCH)


def test_measured_rates_are_slopes_of_the_recorded_norms(full_batch: tuple[xr.DataTree, Summary]) -> None:
    tree, _ = full_batch
    rates, norms = tree["rates"].to_dataset(), tree["residuals"]["residual_norm"]
    assert rates["eigenspace"].values.tolist() == list(EIGENSPACES)
    assert rates.sizes == {"epoch": 31, "eigenspace": 3}
    times = rates["time"].values
    for record in (0, 4, 17, 30):
        for part in range(3):
            one = rates.isel(epoch=record, eigenspace=part)
            within = (times >= float(one["window_start"]) - 1e-12) & (times <= float(one["window_end"]) + 1e-12)
            assert within[record]
            assert 5 <= within.sum() <= 15
            assert within.sum() - 2 == int(one["degrees"])
            slope = np.polyfit(times[within], np.log(norms.values[within, part]), 1)[0]
            assert float(one["measured"]) == pytest.approx(-slope, rel=1e-8)


def test_predicted_rates_are_of_the_measured_block_values(full_batch: tuple[xr.DataTree, Summary]) -> None:
    """By the roots of the recursion that Nesterov's momentum is for one mode."""
    tree, _ = full_batch
    rates = tree["rates"].to_dataset()
    flow = tree["block_values"]["rate"].values
    for record in (0, 15):
        for part in range(3):
            x = 0.02 * flow[record, part]
            largest = np.abs(np.roots([1, -1.5 * (1 - x), 0.5 * (1 - x)])).max()
            # A step is η/(1 − β) of time.
            assert float(rates["predicted"][record, part]) == pytest.approx(-np.log(largest) * 0.5 / 0.02, rel=1e-6)


def test_the_table_shows_the_same(full_batch: tuple[xr.DataTree, Summary]) -> None:
    tree, summary = full_batch
    (table,) = [item for item in summary.tables if item.title.startswith("Decay rates")]
    rates = tree["rates"].to_dataset()
    for row in table.rows:
        at = rates.sel(epoch=row[0])
        expected = [
            float(at[name][part])
            for part in range(3)
            for name in ("measured", "measured_standard_error", "predicted", "predicted_standard_error")
        ]
        np.testing.assert_allclose(np.array(row[2:], dtype=float), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"records": {"epochs": [1, 3], "groups": ["residuals", "block_values"]}},
        {"records": {"epochs": [1, 2, 3, 4], "groups": ["residuals"]}},
        {
            "records": {"epochs": [1, 2, 3, 4], "groups": ["residuals", "block_values"]},
            "training": {"optimizer": {"kind": "adam"}, "step_size": 1e-3},
        },
        {
            "records": {"epochs": [1, 2, 3, 4], "groups": ["residuals", "block_values"]},
            "training": {"loss": "cross_entropy"},
        },
    ],
    ids=["too few records", "no kernels", "Adam", "cross-entropy"],
)
def test_no_flow_no_rates(changes: dict[str, Any]) -> None:
    tree, summary = run(**changes)
    assert "rates" not in tree.children
    assert not [item for item in summary.tables if item.title.startswith("Decay rates")]


@pytest.mark.slow
def test_an_ensemble_has_rates_of_each_member() -> None:
    changes = {**FULL_BATCH, "ensemble": {"seeds": 2}}
    changes["training"] = {**changes["training"], "epochs": 8}
    changes["records"] = {**changes["records"], "epochs": list(range(1, 8))}
    tree, _ = run(**changes)
    rates = tree["rates"].to_dataset()
    assert rates["measured"].dims == ("member", "epoch", "eigenspace")
    assert not np.allclose(rates["measured"][0], rates["measured"][1])
