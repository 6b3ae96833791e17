"""What `block_flow.yaml` claims: a zero invariant collapses, a random one does not; and its numbers are its arrays'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.conftest import Runs
from experiments.reduced import END, REDUCED

from ntkflow.collapse import CLASS_METRICS, METRICS
from ntkflow.results import read_result

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


def test_what_was_chosen_is_said(theory: xr.DataTree, runs: Runs) -> None:
    said = " ".join(runs.result("block_flow").summary.statements)
    assert theory.attrs["representation"] in ("sample", "class")
    assert f"Chosen: representation {theory.attrs['representation']}: " in said
    for case in ("zero invariant", "random"):
        method = theory.attrs["solver"].split(f"{case}: ")[1].split(";")[0]
        assert f"solver {method}: about" in said
        assert f"solver {method}: about" in theory.attrs["choices"]


def run(folder: Path, *overrides: str) -> tuple[xr.Dataset, str]:
    said = ntkflow("run", SCENARIOS / "block_flow.yaml", "-o", folder, *settings(*REDUCED["block_flow"], *overrides))
    assert said.code == 0, said.err
    with read_result(folder).tree() as tree:
        return tree["theory"].to_dataset().load(), said.out


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, str]:
    folder = tmp_path_factory.mktemp("block_flow") / "invariant"
    return run(folder, "representation=invariant", "samples=false", "solver.method=tsit5")


@pytest.mark.slow
def test_without_samples_by_the_invariant_it_is_the_same_flow(
    theory: xr.DataTree, reduced: tuple[xr.Dataset, str]
) -> None:
    found, said = reduced
    for name in (*CLASS_METRICS, "loss", "bias", "weight_gram", "invariant_alignment", "final_class_means"):
        # The scatter is known up to 1e-15‖W‖², and metrics near 0 are lost in it.
        np.testing.assert_allclose(found[name], theory[name], rtol=1e-5, atol=1e-7, err_msg=name)
    assert found.attrs["representation"] == "invariant"
    assert found.attrs["solver"] == "zero invariant: tsit5; random: tsit5"
    assert found.attrs["choices"] == "nothing was left to choose"
    left_out = set(METRICS) - set(CLASS_METRICS)
    assert not {*left_out, "final_features", "invariant_drift"} & set(found)
    assert set(METRICS) <= set(theory.to_dataset())
    assert "Single samples were not kept (samples: false); the metrics nc1_within_std, nc1_cdnv, nc4_disagreement" in (
        " ".join(said.split())
    )


def test_where_the_invariant_cannot_drift_rounding_in_the_scatter_is_reported(
    reduced: tuple[xr.Dataset, str],
) -> None:
    found, said = reduced
    least = float(found["scatter_minimum"].min())
    assert -1e-13 < least < 1e-15
    assert "least eigenvalue of the scatter" in said
    # The state with zero invariant has S of full rank in its C - 1 directions, which collapse makes vanish.
    collapsing = found["scatter_minimum"].sel(case="zero invariant").values
    assert abs(collapsing[-1]) < 1e-6 < 1e-2 < collapsing[0]


@pytest.mark.slow
def test_every_sample_integrated_is_the_same_flow(theory: xr.DataTree, tmp_path: Path) -> None:
    found, _ = run(tmp_path / "sample", "representation=sample", "solver.method=tsit5")
    for name in (*METRICS, "loss", "final_features"):
        np.testing.assert_allclose(found[name], theory[name], rtol=1e-5, atol=1e-8, err_msg=name)


def test_a_state_that_overflows_is_refused_by_its_name(tmp_path: Path) -> None:
    cases = "cases=[{name: huge, initial: {kind: random, weight_scale: 1.0e+308, feature_scale: 1.0e+308}}]"
    message = ntkflow(
        "run", SCENARIOS / "block_flow.yaml", "-o", tmp_path / "out", *settings(*REDUCED["block_flow"], cases)
    ).refused()
    assert message.startswith("case 'huge' starts from a state with numbers that are not finite"), message
