"""`regression.yaml` against NumPy: the whole Jacobian, a matrix exponential, least squares, descent step by step."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.conftest import Runs
from experiments.reduced import REDUCED
from kernels.dense import projectors, relative_difference
from networks.plain_mlp import arrays, forward, jacobians
from scipy.linalg import expm
from scipy.spatial.distance import cdist

from ntkflow.errors import DataError, ScenarioError
from ntkflow.experiments import Outcome, experiment
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.sources import choose_test_samples, load_dataset
from ntkflow.kernels.infinite import ConvolutionalKernel, Erf, FullyConnectedKernel, KernelPair
from ntkflow.networks import MLP
from ntkflow.scenario import RegressionScenario, load_scenario

PATH = SCENARIOS / "regression.yaml"
CLASSES, SAMPLES, TEST, Z = 3, 12, 15, 12.0


def ran(*overrides: str) -> Outcome:
    return experiment(load_scenario(PATH, (*REDUCED["regression"], *overrides)).scenario, folder=SCENARIOS, text="")


@pytest.fixture(scope="module")
def tree(runs: Runs) -> xr.DataTree:
    return runs.tree("regression")


class Direct:
    """The reduced scenario by hand."""

    def __init__(self) -> None:
        scenario = load_scenario(PATH, REDUCED["regression"]).scenario
        assert isinstance(scenario, RegressionScenario)
        data = load_dataset(scenario.data, seed=0, folder=SCENARIOS)
        chosen = choose_test_samples(data, per_class=5, seed=0)
        self.inputs, self.test = np.asarray(data.inputs), np.asarray(data.test_inputs)[chosen]
        self.classes, self.test_classes = np.repeat(np.arange(3), 4), np.asarray(data.test_labels)[chosen]
        centred = np.eye(3) - 1 / 3
        self.targets, self.test_targets = centred[:, self.classes], centred[:, self.test_classes]
        network = MLP(
            named_key(0, "network"), inputs=64, outputs=3, width=8, hidden_layers=1, features=6, activation="tanh"
        )
        self.start, self.test_start = (forward(arrays(network), x, "tanh")[1] for x in (self.inputs, self.test))
        self.jacobian, self.test_jacobian = (
            jacobians(network, x)[1].reshape(len(x) * 3, -1) for x in (self.inputs, self.test)
        )

    def errors(self, train: np.ndarray, test: np.ndarray) -> tuple[list[float], list[float]]:
        """Mean squared errors and accuracies of outputs that are flat over (output, sample)."""
        outputs = train.reshape(3, -1), test.reshape(3, -1)
        both = tuple(zip(outputs, (self.targets, self.test_targets), (self.classes, self.test_classes), strict=True))
        return (
            [float(np.mean((f - y) ** 2)) for f, y, _ in both],
            [float(np.mean(np.argmax(f, axis=0) == labels)) for f, _, labels in both],
        )


@pytest.fixture(scope="module")
def direct() -> Direct:
    return Direct()


def test_the_test_samples(direct: Direct) -> None:
    assert direct.test_classes.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    rows = {row.tobytes() for row in direct.test}
    assert len(rows) == TEST
    assert not rows & {row.tobytes() for row in direct.inputs}


def test_the_flow_is_that_of_the_linearised_network(tree: xr.DataTree, direct: Direct) -> None:
    """θ(t) − θ₀ from a matrix exponential in the samples' space, through the Jacobian by complex steps."""
    kernel = direct.jacobian @ direct.jacobian.T
    force = (direct.targets - direct.start).ravel()
    size = len(force)
    augmented = np.zeros((size + 1, size + 1))
    augmented[:size, :size], augmented[:size, size] = -kernel / Z, force / Z
    theory = tree["theory"]
    for index in (0, 5, 12, 19):
        coefficients = expm(float(theory["time"][index]) * augmented)[:size, size]
        moved = direct.jacobian.T @ coefficients
        train = direct.start.ravel() + direct.jacobian @ moved
        errors, accuracies = direct.errors(train, direct.test_start.ravel() + direct.test_jacobian @ moved)
        assert relative_difference(theory["squared_error"][index], errors) <= 1e-9
        assert theory["accuracy"].values[index].tolist() == pytest.approx(accuracies, abs=1e-14)
        residual = train.reshape(3, -1) - direct.targets
        norms = [np.linalg.norm(residual @ on) for on in projectors(3, 4)]
        assert relative_difference(theory["residual_norm"][index], norms) <= 1e-9
        assert float(theory["loss"][index]) == pytest.approx(np.sum(residual**2) / (2 * Z), rel=1e-9)


def test_the_limit_is_least_squares(tree: xr.DataTree, direct: Direct) -> None:
    force = (direct.targets - direct.start).ravel()
    moved = np.linalg.lstsq(direct.jacobian, force, rcond=None)[0]
    test = direct.test_start.ravel() + direct.test_jacobian @ moved
    errors, accuracies = direct.errors(direct.start.ravel() + direct.jacobian @ moved, test)
    theory = tree["theory"]
    assert float(theory["limit_squared_error"][1]) == pytest.approx(errors[1], rel=1e-8)
    assert float(theory["limit_squared_error"][0]) <= 1e-20
    assert theory["limit_accuracy"].values.tolist() == pytest.approx(accuracies, abs=1e-14)
    of_sample = np.mean((test.reshape(3, -1) - direct.test_targets) ** 2, axis=0)
    expected = np.std(of_sample, ddof=1) / np.sqrt(TEST)
    assert float(theory["limit_squared_error_se"][1]) == pytest.approx(expected, rel=1e-8)


def test_the_spectrum(tree: xr.DataTree, direct: Direct) -> None:
    values, vectors = np.linalg.eigh(direct.jacobian @ direct.jacobian.T)
    theory = tree["theory"]
    assert relative_difference(theory["eigenvalue"], values[::-1]) <= 1e-12
    assert relative_difference(theory["rate"], values[::-1] / Z) <= 1e-12
    force = (direct.targets - direct.start).ravel()
    assert relative_difference(theory["target_share"], (vectors.T @ force)[::-1] ** 2 / (force @ force)) <= 1e-8
    shares = values / values.sum()
    assert float(theory["effective_rank"]) == pytest.approx(math.exp(-np.sum(shares * np.log(shares))), rel=1e-10)


def test_descent_is_descent(tree: xr.DataTree, direct: Direct) -> None:
    """The heavy ball on all parameters of the linearised network."""
    descent, moved = tree["descent"], np.zeros(direct.jacobian.shape[1])
    velocity = np.zeros_like(moved)
    force = (direct.targets - direct.start).ravel()
    stored = descent["step"].values.tolist()
    assert (stored[0], stored[-1]) == (0, 500)
    for step in range(501):
        if step in stored:
            row = descent.sel(step=step)
            train = direct.start.ravel() + direct.jacobian @ moved
            errors, _ = direct.errors(train, direct.test_start.ravel() + direct.test_jacobian @ moved)
            assert relative_difference(row["squared_error"], errors) <= 1e-9
            time = 0.02 * sum((1 - 0.5**j) / 0.5 for j in range(1, step + 1))
            assert float(row["time"]) == pytest.approx(time, rel=1e-12)
        gradient = direct.jacobian.T @ (direct.jacobian @ moved - force) / Z
        velocity = 0.5 * velocity - 0.02 * gradient
        moved = moved + velocity


def test_the_summary(tree: xr.DataTree, runs: Runs, direct: Direct) -> None:
    summary, theory = runs.result("regression").summary, tree["theory"]
    values = {item.name: item for item in summary.quantities}
    accuracy = float(theory["limit_accuracy"][1])
    assert values["test accuracy in the limit"].value == accuracy
    error = values["test accuracy in the limit"].standard_error
    assert error == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / TEST), rel=1e-12)
    assert values["test error in the limit"].value == float(theory["limit_squared_error"][1])
    assert values["rank"].value == 36
    kernel = direct.jacobian @ direct.jacobian.T
    top = np.linalg.eigvalsh(kernel)[-1]
    assert values["largest stable step"].value == pytest.approx(2 * 1.5 * Z / top, rel=1e-10)
    shared = np.mean([kernel.reshape(3, 12, 3, 12)[k, :, k] for k in range(3)], axis=0)
    apart = np.linalg.norm(kernel - np.kron(np.eye(3), shared)) / np.linalg.norm(kernel)
    assert values["distance from a shared kernel"].value == pytest.approx(apart, rel=1e-10)
    rows = {row[0]: row for row in summary.tables[0].rows}
    assert list(rows) == ["start", "least test error", "end of the flow", "after 500 steps", "limit"]
    best = int(np.argmin(theory["squared_error"].values[:, 1]))
    assert rows["least test error"][1] == float(theory["time"][best])
    assert rows["least test error"][4] == float(theory["squared_error"][best, 1])
    assert summary.warnings == ()


def test_a_shared_kernel_is_the_mean_over_outputs(direct: Direct) -> None:
    outcome = ran("kernel.outputs=shared", "initial=zero", "ridge=0.5", "descent=null")
    assert "descent" not in outcome.tree
    blocks = (direct.jacobian @ direct.jacobian.T).reshape(3, 12, 3, 12)
    rows = (direct.test_jacobian @ direct.jacobian.T).reshape(3, 15, 3, 12)
    kernel, cross = (np.mean([item[k, :, k] for k in range(3)], axis=0) for item in (blocks, rows))
    dual = np.linalg.solve(kernel + 0.5 * np.eye(12), direct.targets.T)
    errors, _ = direct.errors((kernel @ dual).T.ravel(), (cross @ dual).T.ravel())
    assert relative_difference(outcome.tree["theory"]["limit_squared_error"], errors) <= 1e-9
    penalty = 0.5 * np.sum(dual * (kernel @ dual))
    loss = (errors[0] * 36 + penalty) / (2 * Z)
    assert float(outcome.tree["theory"]["limit_loss"]) == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("name", ["rbf", "linear"])
def test_kernels_in_closed_form(name: str, direct: Direct) -> None:
    kind = {"rbf": "{kind: rbf, length_scale: 1.5}", "linear": "{kind: linear, bias: 0.5}"}[name]
    outcome = ran(f"kernel={kind}", "initial=zero", "descent=null", "ridge=0.1")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(-cdist(x, y, "sqeuclidean") / (2 * 1.5**2)) if name == "rbf" else x @ y.T + 0.25

    dual = np.linalg.solve(kernel(direct.inputs, direct.inputs) + 0.1 * np.eye(12), direct.targets.T)
    train, test = ((kernel(x, direct.inputs) @ dual).T for x in (direct.inputs, direct.test))
    errors, accuracies = direct.errors(train.ravel(), test.ravel())
    assert relative_difference(outcome.tree["theory"]["limit_squared_error"], errors) <= 1e-9
    assert outcome.tree["theory"]["limit_accuracy"].values.tolist() == pytest.approx(accuracies, abs=1e-14)
    assert "distance from a shared kernel" not in {item.name for item in outcome.summary.quantities}


def test_descent_that_diverges_is_cut_and_said_to() -> None:
    outcome = ran("descent={step_size: 3.0, steps: 100000}")
    assert len(outcome.summary.warnings) == 1
    assert outcome.summary.warnings[0].startswith("η = 3 is above the largest stable step")
    steps = outcome.tree["descent"]["step"].values
    assert steps[-1] < 1000
    assert outcome.summary.warnings[0].endswith(f"shown until step {steps[-1]}.")
    for variable in outcome.tree["descent"].dataset.data_vars.values():
        assert np.isfinite(variable).all(), variable.name


def test_a_kernel_that_cannot_fit_everything() -> None:
    """Linear regression in 64 pixels, some of them always 0, and an offset: rank below the number of samples."""
    outcome = ran("kernel={kind: linear}", "initial=zero", "data.samples_per_class=40", "descent=null")
    values = {item.name: item.value for item in outcome.summary.quantities}
    theory = outcome.tree["theory"]
    assert 30 < values["rank"] < 66
    left = values["what no kernel of this rank can fit"]
    assert 0.001 < left < 0.9
    squares = float(theory["limit_squared_error"][0]) / float(theory["squared_error"][0, 0])
    assert left == pytest.approx(squares, rel=1e-9)


def test_an_ill_conditioned_limit_is_warned_about() -> None:
    outcome = ran("kernel={kind: rbf, length_scale: 500000.0}", "initial=zero", "descent=null")
    assert any("keeps few digits" in text for text in outcome.summary.warnings)
    mended = ran("kernel={kind: rbf, length_scale: 500000.0}", "initial=zero", "descent=null", "ridge=0.01")
    assert mended.summary.warnings == ()


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="initial: network needs the empirical kernel, but the linear kernel"):
        load_scenario(PATH, ("kernel={kind: linear}",))
    infinite = "kind: infinite_mlp, activation: relu, hidden_layers: 2"
    with pytest.raises(ScenarioError, match="depths must increase, but are 2, 1"):
        load_scenario(PATH, (f"kernel={{{infinite}, depths: [2, 1]}}", "initial=zero"))
    with pytest.raises(ScenarioError, match="depths must not exceed hidden_layers, 2, but go to 3"):
        load_scenario(PATH, (f"kernel={{{infinite}, depths: [1, 3]}}", "initial=zero"))
    with pytest.raises(ScenarioError, match="solver: nystrom makes one kernel, not those of all depths"):
        load_scenario(PATH, (f"kernel={{{infinite}, depths: [1]}}", "initial=zero", "solver={kind: nystrom, rank: 5}"))
    with pytest.raises(ScenarioError, match=r"descent\.momentum"):
        load_scenario(PATH, ("descent.momentum=1.0",))
    with pytest.raises(DataError, match=r"left for testing, fewer than the 400 asked for"):
        ran("test_samples_per_class=400")
    overrides = settings(*REDUCED["regression"], "test_samples_per_class=400")
    said = ntkflow("run", PATH, "-o", tmp_path / "result", *overrides)
    assert "test_samples_per_class" in said.refused()


@pytest.mark.parametrize(("trained", "kind"), [("all_layers", "infinite_mlp"), ("last_layer", "infinite_cnn")])
def test_kernels_of_infinite_width(trained: str, kind: str) -> None:
    """The limit, the spread over starts, the bound and a shallower network, from the kernels themselves by NumPy."""
    section = (
        f"kernel={{kind: {kind}, hidden_layers: 2, activation: erf, sigma_w: 1.3, sigma_b: 0.2, trained: {trained}, "
        "depths: [1, 2]}"
    )
    found = ran(section, "initial=zero")
    data = load_dataset(load_scenario(PATH, REDUCED["regression"]).scenario.data, seed=0, folder=Path())
    chosen = choose_test_samples(data, per_class=5, seed=0)
    shape = (-1, 64) if kind == "infinite_mlp" else (-1, 1, 8, 8)
    train, test = data.inputs.reshape(shape), data.test_inputs[chosen].reshape(shape)

    def weighed(layers: int) -> tuple[KernelPair, KernelPair, KernelPair, np.ndarray, np.ndarray]:
        kernel = (
            FullyConnectedKernel(Erf(), layers + 1, 1.3, 0.2)
            if kind == "infinite_mlp"
            else ConvolutionalKernel(Erf(), layers, 3, "flatten", 1.3, 0.2)
        )
        own, rows = kernel.kernels(train), kernel.kernels(test, train)
        theta, cross = (own.ntk, rows.ntk) if trained == "all_layers" else (own.nngp, rows.nngp)
        weights = np.linalg.solve(np.asarray(theta), np.asarray(cross).T)
        return own, rows, kernel.kernels(test), np.asarray(theta), weights

    own, rows, among, theta, weights = weighed(2)
    targets, wanted = np.asarray(data.target_matrix), np.asarray(data.targets)[:, np.asarray(data.test_labels)[chosen]]
    theory = found.tree["theory"]
    error = np.mean((targets @ weights - wanted) ** 2)
    assert float(theory["limit_squared_error"].sel(set="test")) == pytest.approx(error, rel=1e-8)
    variance = np.diagonal(among.nngp) - 2 * np.sum(np.asarray(rows.nngp).T * weights, axis=0)
    variance = variance + np.sum(weights * (np.asarray(own.nngp) @ weights), axis=0)
    assert float(theory["limit_ensemble_variance"].sel(set="test")) == pytest.approx(variance.mean(), rel=1e-7)
    bound = math.sqrt(2 * np.trace(targets @ np.linalg.solve(theta, targets.T)) / SAMPLES)
    (said,) = [item for item in found.summary.quantities if item.name == "leading term of (2.62)"]
    assert said.value == pytest.approx(bound, rel=1e-8)
    depths = found.tree["depths"].to_dataset().sel(set="test")
    shallow = np.mean((targets @ weighed(1)[-1] - wanted) ** 2)
    np.testing.assert_allclose(depths["squared_error"], [shallow, error], rtol=1e-8)
    assert [row[0] for row in found.summary.tables[1].rows] == ["1", "2"]


def test_samples_without_a_kernel_of_infinite_width(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).standard_normal((24, 5))
    inputs[3] = 0
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=np.repeat([0, 1], 12))
    data = f"data={{source: file, path: {tmp_path / 'data.npz'}, samples_per_class: 8}}"
    kernel = "kernel={kind: %s, hidden_layers: 2, activation: relu}"
    with pytest.raises(DataError, match=r"not defined on these samples: .* are 0, .*\n.*sigma_b above 0"):
        ran(data, kernel % "infinite_mlp", "test_samples_per_class=4", "initial=zero")
    with pytest.raises(DataError, match=r"images are needed"):
        ran(data, kernel % "infinite_cnn", "test_samples_per_class=4", "initial=zero")
    with pytest.raises(ScenarioError, match=r"filter_size must be odd, not 2"):
        load_scenario(PATH, ("kernel={kind: infinite_cnn, hidden_layers: 2, activation: relu, filter_size: 2}",))


def test_the_slides_table_validates() -> None:
    scenario = load_scenario(SCENARIOS / "slides" / "cntk_cifar10.yaml").scenario
    assert isinstance(scenario, RegressionScenario)
    assert scenario.kernel.kind == "infinite_cnn"
    assert scenario.kernel.depths == (3, 4, 6, 11, 21)
