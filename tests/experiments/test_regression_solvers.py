"""Regressions that do not store their kernel, beside the dense run of the same scenario; what they will cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.reduced import REDUCED
from kernels.dense import relative_difference

from ntkflow.errors import DataError, ScenarioError, SolverError
from ntkflow.experiments import Outcome, dense_memory, estimate_kernels, experiment
from ntkflow.experiments.sources import load_tested_dataset
from ntkflow.kernels.infinite import Erf, FullyConnectedKernel
from ntkflow.report.regression_figures import regression_drawings
from ntkflow.scenario import RegressionScenario, WidthScenario, load_scenario

PATH = SCENARIOS / "regression.yaml"
COMMON = (*REDUCED["regression"], "initial=zero", "descent=null", "ridge=0.02")
RBF = "kernel={kind: rbf, length_scale: 1.5}"
MLP = "kernel={kind: infinite_mlp, hidden_layers: 1, activation: erf, sigma_b: 0.3}"
ITERATED = "solver={kind: conjugate_gradients, rank: 4, tolerance: 1e-10}"


def ran(*overrides: str) -> Outcome:
    return experiment(load_scenario(PATH, (*COMMON, *overrides)).scenario, folder=SCENARIOS, text="")


@pytest.fixture(scope="module")
def whole() -> Outcome:
    return ran(RBF)


def values(outcome: Outcome) -> dict[str, float]:
    return {item.name: item.value for item in outcome.summary.quantities}


def test_conjugate_gradients_find_what_the_dense_solver_does(whole: Outcome) -> None:
    found = ran(RBF, ITERATED)
    for name in ("squared_error", "accuracy", "loss", "residual_norm", "squared_error_se"):
        for variable in (name, f"limit_{name}"):
            assert relative_difference(found.tree["theory"][variable], whole.tree["theory"][variable]) <= 1e-7, variable
    said = values(found)
    assert 1 <= said["iterations of conjugate gradients"] <= 20
    assert said["residual of the limit"] <= 1e-10
    assert said["rank of the preconditioner"] == 4
    assert 0 < said["share of the trace left out"] < 1
    assert said["Lanczos steps"] == 16
    assert found.tree["theory"]["output_error_bound"].shape == (20, 2)
    assert said["error bound of test outputs"] == float(
        found.tree["theory"]["output_error_bound"].sel(set="test").max()
    )
    assert "rank" not in said
    assert "conjugate gradients" in found.summary.statements[-1]
    assert [item.name for item in found.drawings] == ["errors", "accuracy", "residuals"]
    assert found.summary.warnings == ()
    for drawing in regression_drawings(found.tree):
        drawing.draw()


def test_nystrom_from_all_samples_is_the_kernel_itself(whole: Outcome) -> None:
    """12 samples; from 5 it is another kernel."""
    found, few = (ran(RBF, f"solver={{kind: nystrom, rank: {rank}}}") for rank in (12, 5))
    for name in ("squared_error", "limit_squared_error", "loss", "limit_loss"):
        assert relative_difference(found.tree["theory"][name], whole.tree["theory"][name]) <= 1e-7, name
    said = values(found)
    assert (said["samples of the approximation"], said["rank"]) == (12, 12)
    assert said["share of the trace left out"] <= 1e-10
    assert values(few)["rank"] == 5
    assert values(few)["share of the trace left out"] > 1e-4
    assert values(few)["error bound of the limit"] > said["error bound of the limit"]
    worst = ran(RBF, "solver={kind: nystrom, rank: 1}")
    assert any("leaves out" in text for text in worst.summary.warnings)


@pytest.mark.parametrize(("trained", "which"), [("all_layers", "ntk"), ("last_layer", "nngp")])
def test_networks_of_infinite_width(trained: str, which: str) -> None:
    """All 12 samples: ridge regression with the network's kernel, by NumPy."""
    found = ran(MLP, f"kernel.trained={trained}", "solver={kind: nystrom, rank: 12}")
    scenario = load_scenario(PATH, COMMON).scenario
    assert isinstance(scenario, RegressionScenario)
    data = load_tested_dataset(scenario.data, seed=0, folder=SCENARIOS, test_samples_per_class=5)
    kernel = getattr(FullyConnectedKernel(Erf(), 2, 2**0.5, 0.3), which)
    theta, cross = np.asarray(kernel(data.inputs)), np.asarray(kernel(data.test_inputs, data.inputs))
    outputs = np.asarray(data.target_matrix) @ np.linalg.solve(theta + 0.02 * np.eye(12), cross.T)
    error = np.mean((outputs - np.asarray(data.targets)[:, np.asarray(data.test_labels)]) ** 2)
    assert float(found.tree["theory"]["limit_squared_error"].sel(set="test")) == pytest.approx(error, rel=1e-8)


def test_too_few_lanczos_steps_are_warned_about() -> None:
    found = ran(
        RBF,
        "data.samples_per_class=20",
        "time.end=1e7",
        "ridge=1e-6",
        f"{ITERATED}",
        "solver.time_steps=16",
        "solver.tolerance=1e-6",
    )
    (warning,) = found.summary.warnings
    assert warning.startswith("After 16 Lanczos steps the bound on the error of training outputs")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("solver={kind: nystrom, rank: 5}", "kernel={kind: linear}"), r"infinite_mlp and rbf can, but not the linear"),
        ((RBF, ITERATED, "descent={step_size: 0.1, steps: 5}"), r"leave out descent"),
        ((RBF, "solver={kind: nystrom, rank: 0}"), r"solver\.rank"),
        ((RBF, "solver={kind: cholesky}"), r"'conjugate_gradients', 'dense' or 'nystrom'"),
    ],
)
def test_what_a_scenario_may_not_say(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario(PATH, (*COMMON, *overrides))


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"solver\.rank: a kernel of 12 training samples has no 13 columns"):
        ran(RBF, "solver={kind: nystrom, rank: 13}")
    with pytest.raises(SolverError, match=r"Without ridge the kernel is singular on these samples, or nearly so: take"):
        ran("kernel={kind: rbf, length_scale: 500000.0}", ITERATED, "ridge=0.0", "solver.rank=0", "solver.max_steps=30")
    said = ntkflow("run", PATH, "-o", tmp_path / "out", *settings(*COMMON, RBF, "solver={kind: nystrom, rank: 13}"))
    assert "at most 12" in said.refused()


def test_inputs_of_zero_norm(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).standard_normal((24, 5))
    inputs[:] = np.where(np.arange(24)[:, None] % 6 == 3, 0.0, inputs)
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=np.repeat([0, 1], 12))
    data = f"data={{source: file, path: {tmp_path / 'data.npz'}, samples_per_class: 8}}"
    kernel = "kernel={kind: infinite_mlp, hidden_layers: 1, activation: relu}"
    with pytest.raises(DataError, match=r"not defined on these samples: .* are 0, "):
        ran(data, kernel, "test_samples_per_class=4", "solver={kind: nystrom, rank: 3}")


def test_a_dense_run_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_memory, "machine_memory", lambda: 1000)
    with pytest.raises(
        ScenarioError, match=r"on 12 points needs about .* GB, more than .*\n.*kind: conjugate_gradients"
    ):
        ran(RBF)
    # The coupled kernel of three outputs has 36 points, and no other solver.
    with pytest.raises(ScenarioError, match=r"on 36 points needs .*\n.*Take fewer samples"):
        ran()


def test_costs_of_a_regression() -> None:
    scenario = load_scenario(PATH, (*COMMON, RBF)).scenario
    assert isinstance(scenario, RegressionScenario)
    found = estimate_kernels(scenario, folder=SCENARIOS)
    dense, tiled, low = found.costs
    assert (dense.pairs, tiled.pairs, low.pairs) == (12 * 13 / 2 + 15 * 12, 12 * 13 / 2, 12 * 12)
    assert (dense.operations, tiled.operations, low.operations) == (9 * 12**3, 2 * 12**2 * 3, 8 * 12**3)
    assert dense.memory == dense_memory.dense_bytes(12, 15)
    assert found.chosen == dense.seconds > 0
    text = found.summary("name").to_json()
    assert [row[0] for row in text["tables"][0]["rows"]] == ["dense", "tiled, one iteration", "Nyström, rank 12"]
    coupled = load_scenario(PATH, COMMON).scenario
    assert isinstance(coupled, RegressionScenario)
    (only,) = estimate_kernels(coupled, folder=SCENARIOS).costs
    assert only.operations == 9 * 36**3


def test_costs_of_a_width_study() -> None:
    scenario = load_scenario(SCENARIOS / "width.yaml", REDUCED["width"]).scenario
    assert isinstance(scenario, WidthScenario)
    found = estimate_kernels(scenario, folder=SCENARIOS)
    assert [cost.operations for cost in found.costs] == [2 * 9 * 36**3] * 2
    assert found.chosen == sum(cost.seconds for cost in found.costs)
    assert found.summary("name").tables[0].rows[0][0] == "2 networks of width 16"
