"""What `block_flow.yaml` claims: a zero invariant collapses, a random one does not; and its numbers are its arrays'."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from experiments.conftest import Runs
from experiments.reduced import END

CLASSES, PER_CLASS = 3, 4


@pytest.fixture(scope="module")
def theory(runs: Runs) -> xr.DataTree:
    return runs.tree("block_flow")["theory"]


def test_the_invariants_are_what_they_are_called(theory: xr.DataTree) -> None:
    relative = theory["invariant_relative_norm"]
    assert float(relative.sel(case="zero invariant")[0]) < 1e-12
    assert float(relative.sel(case="random")[0]) > 0.2
    assert float(theory["invariant_drift"].max()) < 1e-9


def test_with_a_zero_invariant_it_collapses(theory: xr.DataTree) -> None:
    found = theory.sel(case="zero invariant")
    ratio = found["nc1_trace_ratio"].values
    assert ratio[0] > 0.1
    assert ratio[-1] < 1e-6 * ratio[0]
    assert float(found["nc2_etf_distance"][-1]) < 1e-4
    assert float(found["nc3_unit_means"][-1]) < 1e-4
    assert float(found["invariant_alignment"][-1]) == pytest.approx(1, abs=1e-9)


def test_without_it_the_variability_stays(theory: xr.DataTree) -> None:
    """It comes to rest at a value that is not small: no waiting will collapse it."""
    found = theory.sel(case="random")
    ratio = found["nc1_trace_ratio"].values
    assert ratio[-1] > 0.1
    half = np.searchsorted(found["time"].values, END / 2)
    assert ratio[-1] == pytest.approx(ratio[half], rel=1e-3)
    assert float(found["nc3_unit_means"][-1]) > 0.1


def test_both_fit_the_labels(theory: xr.DataTree) -> None:
    norms = np.linalg.norm(theory["residual_norm"].values, axis=2)
    assert (norms[:, -1] < 1e-3 * norms[:, 0]).all()


def test_norms_and_metrics_at_the_end_are_those_of_the_final_state(theory: xr.DataTree) -> None:
    for case in theory["case"].values:
        found = theory.sel(case=case)
        features, weight = found["final_features"].values, found["final_weight"].values
        logits = weight @ features + found["bias"].values[-1][:, None]
        residual = logits - np.repeat(np.eye(CLASSES), PER_CLASS, axis=1)
        assert np.linalg.norm(found["residual_norm"].values[-1]) == pytest.approx(
            np.linalg.norm(residual), rel=1e-6, abs=1e-12
        )
        assert float(found["loss"][-1]) == pytest.approx((residual**2).sum() / (2 * 32), rel=1e-6, abs=1e-20)
        np.testing.assert_allclose(found["weight_gram"].values[-1], weight @ weight.T, rtol=1e-10, atol=1e-12)
        by_class = np.split(features, CLASSES, axis=1)
        within = np.mean([block.var(axis=1).sum() for block in by_class])
        between = np.stack([block.mean(axis=1) for block in by_class]).var(axis=0).sum()
        assert float(found["nc1_trace_ratio"][-1]) == pytest.approx(within / between, rel=1e-6, abs=1e-14)


def test_the_summary_is_the_last_time(theory: xr.DataTree, runs: Runs) -> None:
    (table,) = runs.result("block_flow").summary.tables
    assert [row[0] for row in table.rows] == ["zero invariant", "random"]
    for row in table.rows:
        found = theory.sel(case=row[0])
        expected = [
            float(found["invariant_relative_norm"][0]),
            float(found["invariant_alignment"][-1]),
            float(found["nc1_trace_ratio"][-1]),
            float(found["nc2_etf_distance"][-1]),
            float(found["nc3_unit_means"][-1]),
            float(np.linalg.norm(found["residual_norm"].values[-1])),
            float(found["invariant_drift"].max()),
        ]
        assert list(row[1:]) == pytest.approx(expected, rel=1e-12)
