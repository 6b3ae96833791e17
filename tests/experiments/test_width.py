"""The width kind against what it is made of: one network trained by hand, its linearisation, the limit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS
from experiments.conftest import Runs
from experiments.reduced import REDUCED

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.errors import DataError, ScenarioError
from ntkflow.experiments import experiment
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.sources import choose_test_samples, load_dataset
from ntkflow.kernels.infinite import FullyConnectedKernel, LeakyReLU
from ntkflow.networks import MLP
from ntkflow.scenario import WidthScenario, load_scenario

SAMPLES, OUTPUTS, Z, STEP, STEPS = 12, 3, 12.0, 0.5, 30


@pytest.fixture(scope="module")
def tree(runs: Runs) -> xr.DataTree:
    return runs.tree("width")


def scenario(*overrides: str) -> WidthScenario:
    found = load_scenario(SCENARIOS / "width.yaml", (*REDUCED["width"], *overrides)).scenario
    assert isinstance(found, WidthScenario)
    return found


@functools.cache
def samples() -> tuple[Dataset, np.ndarray, np.ndarray]:
    """The data, the inputs of the test samples, and their targets."""
    data = load_dataset(scenario().data, seed=0, folder=Path())
    chosen = choose_test_samples(data, per_class=5, seed=0)
    return data, np.asarray(data.test_inputs)[chosen], np.asarray(data.targets)[:, np.asarray(data.test_labels)[chosen]]


def network(width: int, seed: int) -> MLP:
    section = schema.MLP(
        kind="mlp",
        width=width,
        hidden_layers=1,
        features=width,
        activation="relu",
        parametrization="ntk",
        sigma_w=2**0.5,
        sigma_b=0.1,
    )
    key = named_key(0, "network", f"{width}", f"{seed}")
    return make_network(section, input_shape=samples()[0].inputs.shape[1:], classes=OUTPUTS, key=key)


def parameters(network: MLP) -> list[jax.Array]:
    return [leaf for layer in (*network.layers, network.readout) for leaf in (layer.unit_weight, layer.unit_bias)]


def forward(theta: list[jax.Array], inputs: jax.Array) -> jax.Array:
    """The networks' function of θ, written out: outputs as columns."""
    a = inputs.reshape(len(inputs), -1).T
    pairs = list(zip(theta[::2], theta[1::2], strict=True))
    for index, (weight, bias) in enumerate(pairs):
        a = np.sqrt(2 / weight.shape[1]) * weight @ a + 0.1 * bias[:, None]
        if index < len(pairs) - 1:
            a = jnp.maximum(a, 0)
    return a


def test_one_network_by_hand(tree: xr.DataTree) -> None:
    """Descent with plain loops, the linearisation by jvp, and every distance from them."""
    networks = tree["networks"].to_dataset().isel(width=0, seed=1)
    width = int(networks["width"])
    start = parameters(network(width, 1))
    inputs, targets = samples()[0].inputs, samples()[0].target_matrix
    both = jnp.concatenate([inputs, jnp.asarray(samples()[1])])

    def loss(theta: list[jax.Array]) -> jax.Array:
        return jnp.sum((forward(theta, inputs) - targets) ** 2) / (2 * Z)

    @jax.jit
    def linear(theta: list[jax.Array]) -> jax.Array:
        moved = [one - other for one, other in zip(theta, start, strict=True)]
        value, tangent = jax.jvp(lambda at: forward(at, both), (start,), (moved,))
        return value + tangent

    def linear_loss(theta: list[jax.Array]) -> jax.Array:
        return jnp.sum((linear(theta)[:, :SAMPLES] - targets) ** 2) / (2 * Z)

    def step_of(loss: Callable[[list[jax.Array]], jax.Array]) -> Callable[[list[jax.Array]], list[jax.Array]]:
        return jax.jit(lambda at: [one - STEP * slope for one, slope in zip(at, jax.grad(loss)(at), strict=True)])

    descend, linear_descend = step_of(loss), step_of(linear_loss)
    recorded = set(networks["step"].to_numpy().tolist())
    theta, lin, deviation, change, errors = start, start, 0.0, 0.0, []
    wanted = jnp.concatenate([targets, jnp.asarray(samples()[2])], axis=1)
    for step in range(STEPS + 1):
        if step in recorded:
            apart = forward(theta, both) - linear(lin)
            deviation = max(deviation, float(jnp.sqrt(jnp.mean(jnp.sum(apart**2, axis=0)))))
            squares = sum(float(jnp.sum((one - other) ** 2)) for one, other in zip(theta, start, strict=True))
            change = max(change, np.sqrt(squares / width))
            misses = [(forward(theta, both) - wanted) ** 2, (linear(lin) - wanted) ** 2]
            errors.append([[float(part.mean()) for part in (miss[:, :SAMPLES], miss[:, SAMPLES:])] for miss in misses])
        if step < STEPS:
            theta, lin = descend(theta), linear_descend(lin)

    def kernel(at: list[jax.Array]) -> np.ndarray:
        rows = jax.tree.leaves(jax.jacobian(lambda item: forward(item, inputs))(at))
        flat = np.concatenate([np.asarray(row).reshape(OUTPUTS * SAMPLES, -1) for row in rows], axis=1)
        return flat @ flat.T

    infinite = FullyConnectedKernel(LeakyReLU(), 3, 2**0.5, 0.1).ntk(inputs)
    limit = np.kron(np.eye(OUTPUTS), np.asarray(infinite))
    expected = {
        "output_deviation": deviation,
        "parameter_change": change,
        "kernel_error": np.linalg.norm(kernel(start) - limit) / np.linalg.norm(limit),
        "kernel_change": np.linalg.norm(kernel(theta) - kernel(start)),
    }
    curves = np.array(errors).T
    apart = np.abs(np.sqrt(curves[:, 0]) - np.sqrt(curves[:, 1])).max(axis=1)
    expected |= {"training_curve": apart[0], "test_curve": apart[1]}
    for name, value in expected.items():
        assert float(networks[name]) == pytest.approx(value, rel=1e-7), name
    np.testing.assert_allclose(networks["squared_error"], curves[:, 0], rtol=1e-9)
    np.testing.assert_allclose(networks["linear_squared_error"], curves[:, 1], rtol=1e-9)
    # The same steps from outputs 0, on the kernel at the start.
    whole = jax.tree.leaves(jax.jacobian(lambda item: forward(item, both))(start))
    rows = np.concatenate([np.asarray(row).reshape(OUTPUTS, len(both), -1) for row in whole], axis=2)
    coefficients = np.zeros((OUTPUTS, SAMPLES))
    gram = np.einsum("kip,sjp->kisj", rows, rows[:, :SAMPLES])
    for _ in range(STEPS):
        residual = np.einsum("kisj,sj->ki", gram[:, :SAMPLES], coefficients) - np.asarray(targets)
        coefficients -= STEP / Z * residual
    chosen = np.argmax(np.einsum("kisj,sj->ki", gram[:, SAMPLES:], coefficients), axis=0)
    assert float(networks["kernel_accuracy"]) == np.mean(chosen == np.argmax(samples()[2], axis=0))


def test_the_limit_is_kernel_regression(tree: xr.DataTree) -> None:
    """By hand: (I − ηΘ/Z)ᵏ on the training samples, and the rows to test samples."""
    inputs, targets = samples()[0].inputs, np.asarray(samples()[0].target_matrix)
    test, wanted = jnp.asarray(samples()[1]), samples()[2]
    kernel = FullyConnectedKernel(LeakyReLU(), 3, 2**0.5, 0.1)
    theta, rows = np.asarray(kernel.ntk(inputs)), np.asarray(kernel.ntk(test, inputs))
    coefficients = np.zeros((OUTPUTS, SAMPLES))
    for _ in range(STEPS):
        coefficients += STEP / Z * (targets - coefficients @ theta)
    error = np.mean((coefficients @ rows.T - wanted) ** 2)
    theory = tree["theory"].to_dataset()
    assert float(theory["squared_error"].sel(samples="test")[-1]) == pytest.approx(error, rel=1e-9)
    fitted = np.mean((coefficients @ theta - targets) ** 2)
    assert float(theory["squared_error"].sel(samples="training")[-1]) == pytest.approx(fitted, rel=1e-9)
    assert float(theory["ensemble_variance"].sel(samples="test")[0]) == pytest.approx(
        float(np.mean(np.asarray(kernel.diagonals(test).nngp))), rel=1e-9
    )


def test_a_step_beyond_the_limit_is_told_of() -> None:
    found = experiment(scenario("step_size=30.0", "steps=2"), folder=SCENARIOS, text="")
    assert any("above the largest stable one at infinite width" in text for text in found.summary.warnings)


@pytest.mark.parametrize(
    ("override", "message"),
    [("widths=[8, 8]", "widths must increase"), ("widths=[8]", "widths"), ("seeds=1", "seeds")],
)
def test_what_is_refused(override: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario(SCENARIOS / "width.yaml", (override,))


@pytest.mark.parametrize("place", [3, 22])
def test_samples_without_a_kernel(place: int, tmp_path: Path) -> None:
    """Wherever the zero falls, among training or test samples."""
    inputs = np.random.default_rng(0).standard_normal((24, 5))
    inputs[place] = 0
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=np.repeat([0, 1], 12))
    data = f"data={{source: file, path: {tmp_path / 'data.npz'}, samples_per_class: 8}}"
    with pytest.raises(DataError, match=r"the kernel is not defined on these samples"):
        experiment(scenario(data, "test_samples_per_class=4", "network.sigma_b=0.0"), folder=SCENARIOS, text="")
