"""The kernel_change kind against plain loops with whole Jacobians; ends, resuming, and what is refused."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS
from experiments.conftest import Runs
from experiments.reduced import REDUCED

from ntkflow.errors import ScenarioError
from ntkflow.experiments import experiment
from ntkflow.experiments.kernel_change_run import KernelChangeRun
from ntkflow.networks import MLP
from ntkflow.report import render
from ntkflow.scenario import KernelChangeScenario, load_scenario

OUTPUTS, SAMPLES = 3, 12


def scenario(*overrides: str) -> KernelChangeScenario:
    found = load_scenario(SCENARIOS / "kernel_change.yaml", (*REDUCED["kernel_change"], *overrides)).scenario
    assert isinstance(found, KernelChangeScenario)
    return found


@pytest.fixture(scope="module")
def tree(runs: Runs) -> xr.DataTree:
    return runs.tree("kernel_change")


def flat(network: MLP) -> list[jax.Array]:
    return [leaf for layer in (*network.layers, network.readout) for leaf in (layer.weight, layer.bias)]


def outputs(theta: list[jax.Array], inputs: jax.Array) -> jax.Array:
    a = inputs.reshape(len(inputs), -1).T
    for index in range(0, len(theta), 2):
        a = theta[index] @ a + theta[index + 1][:, None]
        a = jnp.maximum(a, 0) if index < len(theta) - 2 else a
    return a


def whole_kernel(theta: list[jax.Array], inputs: jax.Array) -> np.ndarray:
    """Θ_ks(x, x') at [k, x, s, x'], by the Jacobian."""
    rows = jax.jacobian(lambda at: outputs(at, inputs))(theta)
    jacobian = np.concatenate([np.asarray(row).reshape(OUTPUTS * SAMPLES, -1) for row in rows], axis=1)
    return (jacobian @ jacobian.T).reshape(OUTPUTS, SAMPLES, OUTPUTS, SAMPLES)


@pytest.mark.parametrize("kernel", ["traced", "all_pairs"])
def test_one_network_by_hand(kernel: str, tree: xr.DataTree) -> None:
    asked = scenario(f"kernel={kernel}")
    run = KernelChangeRun(asked, Path())
    if kernel == "all_pairs":
        run.to_the_end()
    found = run.found if kernel == "all_pairs" else None
    plane = tree["plane"].to_dataset()
    width, depth, sigma, seed = 0, 1, 1, 1
    index = sigma * asked.seeds + seed
    theta = flat(run.networks(asked.widths[width], asked.depths[depth])[index])
    inputs, targets = run.dataset.inputs, run.dataset.target_matrix

    @jax.jit
    @jax.value_and_grad
    def loss(at: list[jax.Array]) -> jax.Array:
        return jnp.sum((outputs(at, inputs) - targets) ** 2) / (2 * SAMPLES)

    def theta_of(at: list[jax.Array]) -> np.ndarray:
        whole = whole_kernel(at, inputs)
        return np.einsum("kikj->ij", whole) if kernel == "traced" else whole

    start, least, changes = theta_of(theta), np.inf, {}
    limit = 2 * SAMPLES / np.linalg.eigvalsh(whole_kernel(theta, inputs).reshape(SAMPLES * OUTPUTS, -1))[-1]
    for step in range(asked.steps + 1):
        value, gradient = loss(theta)
        least = min(least, float(value))
        if step in (*asked.measured_steps, asked.steps):
            changes[step] = np.linalg.norm(theta_of(theta) - start) / np.linalg.norm(start)
        theta = [one - asked.step_size * slope for one, slope in zip(theta, gradient, strict=True)]
    expected = list(changes.values())
    if found is None:
        cell = plane.isel(width=width, depth=depth, sigma_w2=sigma, seed=seed)
        measured = [*cell["change"].to_numpy(), float(cell["final_change"])]
        assert float(cell["minimal_loss"]) == pytest.approx(least, rel=1e-9)
        assert float(cell["step_limit"]) == pytest.approx(limit, rel=1e-4)
        assert int(cell["steps"]) == asked.steps
    else:
        measured = found["change"][width, depth, sigma, seed]
    np.testing.assert_allclose(measured, expected, rtol=1e-7)
    assert min(expected) > 1e-6


def test_weights_and_biases_have_their_variances() -> None:
    run = KernelChangeRun(scenario("network.sigma_b2=0.3"), Path())
    first, *_, last = run.networks(400, 3)
    # The second seed at the smallest σ_w² and at the largest.
    partner = run.networks(400, 3)[1]
    np.testing.assert_allclose(last.layers[1].weight, np.sqrt(2.2) * partner.layers[1].weight, rtol=1e-12)
    np.testing.assert_array_equal(last.layers[1].bias, partner.layers[1].bias)
    assert np.var(np.asarray(first.layers[1].weight)) * 400 == pytest.approx(1.0, abs=6 * np.sqrt(2 / 400**2))
    assert np.var(np.asarray(first.layers[1].bias)) == pytest.approx(0.3, abs=6 * 0.3 * np.sqrt(2 / 400))


def test_a_divergence_is_a_result() -> None:
    """The step is far above the limit of some networks, and all stages come to an end."""
    found = experiment(scenario("step_size=1.0e+30", "network.activation=tanh"), folder=SCENARIOS, text="")
    plane = found.tree["plane"].to_dataset()
    diverged = plane["end"].to_numpy() == 2
    assert diverged.all()
    assert np.isnan(plane["final_change"].to_numpy()).all()
    assert (plane["steps"].to_numpy() < 20).all()
    assert np.isfinite(plane["minimal_loss"].to_numpy()).all()
    assert any("is above 2Z/λ_max" in text for text in found.summary.warnings)
    assert found.summary.tables[2].rows[0][4] == plane["end"][0, 0].size
    for drawing in found.drawings:
        render(drawing)


def test_a_stalled_training_stops_early() -> None:
    found = experiment(
        scenario("step_size=1.0e-12", "stopping={kind: stalled_loss, patience: 4}"), folder=SCENARIOS, text=""
    )
    plane = found.tree["plane"].to_dataset()
    # The first loss begins the count, four more end it before the fifth step.
    assert (plane["end"].to_numpy() == 1).all()
    assert (plane["steps"].to_numpy() == 4).all()


class StoppedIn:
    """Progress that is interrupted in the second cell."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        if done > 1:
            raise KeyboardInterrupt


def test_a_resumed_run_is_the_same(tmp_path: Path, tree: xr.DataTree) -> None:
    first = KernelChangeRun(scenario(), Path(), tmp_path / "checkpoints")
    with pytest.raises(KeyboardInterrupt):
        first.to_the_end(StoppedIn())
    second = KernelChangeRun(scenario(), Path(), tmp_path / "checkpoints")
    second.resume()
    assert any("Resumed after 1 of" in text for text in second.messages)
    assert np.isfinite(second.found["least_loss"][0, 0]).all()
    assert np.isnan(second.found["least_loss"][0, 1]).all()
    second.to_the_end()
    np.testing.assert_array_equal(second.found["least_loss"], tree["plane"]["minimal_loss"].to_numpy())
    np.testing.assert_array_equal(second.found["change"][..., -1], tree["plane"]["final_change"].to_numpy())
    second.prune()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sigma_w2=[2.0, 1.0]", "sigma_w2 must increase"),
        ("sigma_w2=[0.0, 1.0]", "sigma_w2"),
        ("depths=[1, 2]", "depths"),
        ("seeds=1", "seeds"),
        ("measured_steps=[100000]", "measured_steps must not go beyond steps"),
    ],
)
def test_what_is_refused(override: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario(SCENARIOS / "kernel_change.yaml", (override,))


def test_one_neuron_in_every_layer() -> None:
    run = KernelChangeRun(scenario("widths=[1]", "depths=[2]", "measured_steps=[]"), Path())
    run.to_the_end()
    assert np.isfinite(run.found["least_loss"]).all()
