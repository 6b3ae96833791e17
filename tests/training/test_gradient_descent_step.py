"""One step of gradient descent against backpropagation by hand."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
import pytest
from jax import export
from networks.plain_mlp import arrays
from training.backpropagation import flat, gradient, residual, step
from training.tiny import SAMPLES, dataset, network, problem

from ntkflow.networks import MLP
from ntkflow.training import Problem, descend


def made(activation: str, hidden_layers: int) -> MLP:
    return MLP(
        jax.random.key(1),
        inputs=64,
        outputs=3,
        width=5,
        hidden_layers=hidden_layers,
        features=4,
        activation=activation,
    )


@pytest.mark.parametrize(("activation", "hidden_layers"), [("linear", 0), ("tanh", 1), ("relu", 2)])
@pytest.mark.parametrize("z", [1.0, float(SAMPLES)])
def test_three_steps(activation: str, hidden_layers: int, z: float) -> None:
    """Three, so that biases, which start at 0, have moved."""
    data, size = dataset(), 0.01
    inputs, targets = np.asarray(data.inputs), np.asarray(data.target_matrix)
    compiled = eqx.filter_jit(descend)
    net, plain = made(activation, hidden_layers), arrays(made(activation, hidden_layers))
    for _ in range(3):
        net = compiled(net, Problem.of(data, z), size)
        plain = step(plain, inputs, targets, activation, z, size)
    start = flat(arrays(made(activation, hidden_layers)))
    moved = np.linalg.norm(flat(plain) - start)
    assert moved > 1e-3
    assert np.linalg.norm(flat(arrays(net)) - flat(plain)) <= 1e-12 * moved


def test_the_hand_written_gradient_is_one() -> None:
    """The oracle itself, against central differences of the loss along random directions."""
    inputs, targets = np.asarray(dataset().inputs), np.asarray(dataset().target_matrix)
    plain = arrays(made("tanh", 1))
    slope = gradient(plain, inputs, targets, "tanh", 5.0)

    def loss(t: float, direction: list[np.ndarray]) -> float:
        moved = [a + t * d for a, d in zip(plain, direction, strict=True)]
        return (residual(moved, inputs, targets, "tanh") ** 2).sum() / 10

    for seed in range(3):
        generator = np.random.default_rng(seed)
        direction = [generator.standard_normal(array.shape) for array in plain]
        expected = (loss(1e-5, direction) - loss(-1e-5, direction)) / 2e-5
        assert flat(slope) @ flat(direction) == pytest.approx(expected, rel=1e-7)


def test_the_residual_is_what_the_network_says_minus_the_targets() -> None:
    own = problem().residual(network())
    plain = residual(arrays(network()), np.asarray(dataset().inputs), np.asarray(dataset().target_matrix), "tanh")
    np.testing.assert_allclose(own, plain, rtol=0, atol=1e-13)


def test_the_loss_is_half_the_squared_residual_over_z() -> None:
    loss, _ = Problem.of(dataset(), 7.0).loss(network())
    assert float(loss) == pytest.approx(np.sum(np.asarray(problem().residual(network())) ** 2) / 14, rel=1e-14)


def test_a_step_lowers_for_cuda() -> None:
    parameters, rest = eqx.partition(network(), eqx.is_inexact_array)

    def stepped(parameters: MLP) -> MLP:
        return eqx.filter(descend(eqx.combine(parameters, rest), problem(), 0.1), eqx.is_inexact_array)

    assert export.export(jax.jit(stepped), platforms=["cuda"])(parameters).platforms == ("cuda",)
