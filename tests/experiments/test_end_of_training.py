"""`hyperbola.yaml` against the formulas of the hyperbola, and other starts against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS
from experiments.conftest import Runs
from scipy.integrate import solve_ivp

from ntkflow.errors import ScenarioError
from ntkflow.experiments import experiment
from ntkflow.report import render
from ntkflow.scenario import load_scenario

M, MU = 4, 1.0
STARTS = {
    "far below": (2.0, 0.6),
    "below": (1.8, 0.8),
    "on the diagonal": (1.6, 0.8),
    "above": (1.4, 0.85),
    "far above": (1.0, 0.9),
}


@pytest.fixture(scope="module")
def theory(runs: Runs) -> xr.DataTree:
    return runs.tree("hyperbola")["theory"]


@pytest.mark.parametrize("name", STARTS)
def test_each_case_is_its_hyperbola(name: str, theory: xr.DataTree) -> None:
    w0, h0 = STARTS[name]
    case, times = theory.sel(case=name), theory["time"].values
    solution = solve_ivp(
        lambda _, y: [-M * y[0] * y[1] ** 2, -MU * y[0] ** 2 * y[1]],
        (0, times[-1]), [w0, h0], method="DOP853", rtol=1e-13, atol=1e-200, t_eval=times,
    )  # fmt: skip
    w, h = solution.y
    np.testing.assert_allclose(case["weight_gram_eigenvalue"].values[:, 0], w**2, rtol=1e-9)
    np.testing.assert_allclose(case["scatter_eigenvalue"].values[:, 0], h**2, rtol=1e-9)
    np.testing.assert_allclose(case["within_norm"].values, np.sqrt(M) * w * h, rtol=1e-9)
    np.testing.assert_allclose(case["weight_scatter_norm"].values, w * h**2, rtol=1e-9)
    scale = MU * w0**2 + M * h0**2
    np.testing.assert_allclose(case["integrated_scatter_eigenvalue"].values[:, 0], h**2, atol=1e-8 * scale)
    np.testing.assert_allclose(case["integrated_weight_gram_eigenvalue"].values[:, 0], w**2, atol=1e-8 * scale)
    np.testing.assert_allclose(case["integrated_within_norm"].values, np.sqrt(M) * w * h, atol=1e-8 * scale)
    ε = MU * w0**2 - M * h0**2
    np.testing.assert_allclose(case["invariant_eigenvalue"].values, [ε], atol=1e-14)
    np.testing.assert_allclose(case["scatter_limit"].values, [max(-ε, 0) / M], atol=1e-14)
    np.testing.assert_allclose(case["weight_gram_limit"].values, [max(ε, 0) / MU], atol=1e-14)
    np.testing.assert_allclose(case["occupation"].values, [scale], rtol=1e-14)
    difference = np.abs(case["integrated_scatter_eigenvalue"] - case["scatter_eigenvalue"]).values[:, 0]
    np.testing.assert_allclose(case["scatter_difference"].values, M * difference / scale, rtol=1e-6, atol=1e-16)


def test_the_summary(theory: xr.DataTree, runs: Runs) -> None:
    summary = runs.result("hyperbola").summary
    names = [column.name for column in summary.tables[0].columns]
    times = theory["time"].values
    rows = {row[0]: dict(zip(names, row, strict=True)) for row in summary.tables[0].rows}
    assert list(rows) == list(STARTS)
    for name, (w0, h0) in STARTS.items():
        row, ε = rows[name], MU * w0**2 - M * h0**2
        assert row["λ min"] == row["λ max"] == pytest.approx(ε, abs=1e-14)
        assert row["Tr S limit"] == pytest.approx(max(-ε, 0) / M, abs=1e-14)
        assert row["law"] == ("1/t" if name == "on the diagonal" else "exponential")
        if name == "on the diagonal":
            assert row["rate predicted"] == pytest.approx(2 / (times[-1] + times[-2]), rel=1e-12)
            # s = 1/(1/s₀ + 2mt) decays a little slower than 1/t, and the two times are far apart.
            expected = np.log((1 / h0**2 + 2 * M * times[-1]) / (1 / h0**2 + 2 * M * times[-2])) / (
                times[-1] - times[-2]
            )
            assert row["rate"] == pytest.approx(expected, rel=1e-9)
        else:
            assert row["rate predicted"] == pytest.approx(abs(ε), rel=1e-12)
            assert row["rate"] == pytest.approx(abs(ε), rel=1e-4)
        assert row["difference"] <= 1e-7
    values = {item.name: item.value for item in summary.quantities}
    assert values["largest difference"] == max(row["difference"] for row in rows.values())
    assert 0 < values["largest invariant drift"] <= 1e-7
    assert values["largest invariant drift"] == float(theory["invariant_drift"].max())
    assert summary.warnings == ()


CASES = """[
  {name: spectrum, initial: {kind: spectrum, eigenvalues: [-4.0, 0.0, 2.0], excess: 0.7}},
  {name: random, initial: {kind: random, weight_scale: 1.5}},
  {name: axes, initial: {kind: axes, weights: [1.0, 2.0, 0.0], within: [0.5, 0.0, 0.3]}},
  {name: nothing, initial: {kind: axes, weights: [0.0, 0.0, 0.0], within: [0.0, 0.0, 0.0]}},
]""".replace("\n", " ")


def several(*more: str):
    overrides = ("features=3", f"cases={CASES}", "time.end=2.0", "time.points=25", "loss_scale=samples", *more)
    return load_scenario(SCENARIOS / "hyperbola.yaml", overrides).scenario


@pytest.mark.slow
def test_several_features_and_every_kind_of_start() -> None:
    outcome = experiment(several(), folder=SCENARIOS, text="")
    theory = outcome.tree["theory"].to_dataset()
    assert np.isfinite(theory["scatter_eigenvalue"]).all()
    np.testing.assert_allclose(theory["invariant_eigenvalue"].sel(case="spectrum"), [-4.0, 0.0, 2.0], atol=1e-12)
    np.testing.assert_allclose(theory["invariant_eigenvalue"].sel(case="axes"), [-0.36, 0.0, 4.0], atol=1e-12)
    assert float(theory["scatter_difference"].max()) <= 1e-8
    assert float(theory["weight_gram_difference"].max()) <= 1e-8
    # Of "axes" only the first direction, with w = 2h and λ = 0, has both a w and an h.
    laws = {row[0]: row[6] for row in outcome.summary.tables[0].rows}
    assert laws == {"spectrum": "1/t", "random": "exponential", "axes": "1/t", "nothing": "at 0"}
    apart = "cases=[{name: apart, initial: {kind: axes, weights: [1.0, 0.5, 0.0], within: [0.1, 0.0, 0.3]}}]"
    row = experiment(several(apart), folder=SCENARIOS, text="").summary.tables[0].rows[0]
    # λ = 0.96 sets the pace: the smaller ones, 0.25 and −0.36, belong to W or S alone.
    assert row[6] == "exponential"
    assert row[7] == pytest.approx(0.96 / 12, rel=1e-12)
    # Directions of opposite sign leave nothing of W where S stays.
    late = experiment(several("time.end=5000.0"), folder=SCENARIOS, text="").tree["theory"].to_dataset()
    for name in ("scatter", "weight_gram"):
        np.testing.assert_allclose(
            late[f"{name}_eigenvalue"].isel(time=-1).sel(case="random"),
            late[f"{name}_limit"].sel(case="random"),
            atol=2e-2,
        )
    # No plane of w and h with three of each; the others are drawn.
    assert [drawing.name for drawing in outcome.drawings] == ["grams", "residual"]
    assert all(render(drawing).png for drawing in outcome.drawings)


def test_a_run_that_ends_too_early_says_so() -> None:
    cases = "[{name: slow, initial: {kind: axes, weights: [1.0], within: [0.4]}}]"
    scenario = load_scenario(
        SCENARIOS / "hyperbola.yaml", (f"cases={cases}", "time.end=5.0", "time.points=25")
    ).scenario
    outcome = experiment(scenario, folder=SCENARIOS, text="")
    (warning,) = outcome.summary.warnings
    assert warning.startswith("Case 'slow' ends before its law shows")
    assert float(outcome.tree["theory"]["invariant_eigenvalue"][0, 0]) == pytest.approx(1 - 4 * 0.16)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("features=2",), "case 'far below' has 1 weights for 2 features"),
        (
            ("features=4", "cases=[{name: a, initial: {kind: spectrum, eigenvalues: [1.0, 1.0, 1.0, 1.0]}}]"),
            "case 'a' needs an output for each feature: at most 3 features, not 4",
        ),
        (
            ("cases=[{name: a, initial: {kind: random}}, {name: a, initial: {kind: random}}]",),
            "every case needs its own name, but the names are a, a",
        ),
        (("cases=[{name: a, initial: {kind: random, within_scale: 0.0}}]",), "within_scale"),
    ],
)
def test_bad_input(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario(SCENARIOS / "hyperbola.yaml", overrides)
