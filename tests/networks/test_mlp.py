"""The fully-connected network against plain NumPy, and its initial weights against their rules."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference
from kernels.jacobians import shaken
from networks.plain_mlp import arrays, forward

from ntkflow.networks import ACTIVATIONS, MLP, normal_weight

INPUTS = np.random.default_rng(0).standard_normal((7, 4))


def network(activation: str = "relu", hidden_layers: int = 2) -> MLP:
    sizes = {"inputs": 4, "outputs": 3, "width": 6, "features": 5}
    return MLP(jax.random.key(0), hidden_layers=hidden_layers, activation=activation, **sizes)


@pytest.mark.parametrize("hidden_layers", [0, 1, 2])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_forward(activation: str, hidden_layers: int) -> None:
    net = shaken(network(activation, hidden_layers))
    features, logits = forward(arrays(net), INPUTS, activation)
    assert features.shape == (5, 7)
    assert logits.shape == (3, 7)
    assert relative_difference(net.feature_matrix(jnp.asarray(INPUTS)), features) <= 1e-14
    assert relative_difference(net.logit_matrix(jnp.asarray(INPUTS)), logits) <= 1e-14


def test_one_sample_and_inputs_of_any_shape() -> None:
    net = shaken(network("tanh"))
    x = jnp.asarray(INPUTS[0])
    assert relative_difference(net(x), net.logit_matrix(jnp.asarray(INPUTS))[:, 0]) <= 1e-15
    assert relative_difference(net(x), net.readout(net.features(x))) <= 1e-15
    images = jnp.asarray(INPUTS).reshape(7, 2, 2)
    assert relative_difference(net.logit_matrix(images), net.logit_matrix(jnp.asarray(INPUTS))) <= 1e-15


def test_relu_has_derivative_zero_at_zero() -> None:
    assert float(jax.grad(ACTIVATIONS["relu"])(0.0)) == 0.0


@pytest.mark.parametrize("hidden_layers", [0, 1, 3])
def test_parameter_count(hidden_layers: int) -> None:
    sizes = [4, *[6] * hidden_layers, 5, 3]
    expected = sum(a * b + b for a, b in pairwise(sizes))
    net = network(hidden_layers=hidden_layers)
    assert net.parameter_count() == expected == sum(array.size for array in arrays(net))


@pytest.mark.parametrize(("initialization", "gain"), [("he_normal", 2.0), ("lecun_normal", 1.0)])
def test_variance_of_initial_weights(initialization: str, gain: float) -> None:
    """30 000 numbers: their variance is known to √(2/30000) = 0.8 %, their mean to 0.6 % of a standard deviation."""
    weight = np.asarray(normal_weight(jax.random.key(0), 300, 100, initialization))
    assert weight.shape == (300, 100)
    assert abs(weight.var() / (gain / 100) - 1) < 0.03
    assert abs(weight.mean()) < 0.025 * np.sqrt(gain / 100)
    # A normal distribution, not a uniform one: 4.55 % beyond two standard deviations.
    assert abs(np.mean(np.abs(weight) > 2 * np.sqrt(gain / 100)) - 0.0455) < 0.005


def test_initial_weights_of_a_network() -> None:
    sizes = {"inputs": 100, "outputs": 60, "width": 200, "features": 150}
    net = MLP(jax.random.key(1), hidden_layers=2, activation="relu", initialization="he_normal", **sizes)
    for layer, fan_in in zip(net.layers, [100, 200, 200], strict=True):
        assert abs(float(layer.weight.var()) / (2 / fan_in) - 1) < 0.05
    # The readout is linear: its gain is 1 whatever the rule.
    assert abs(float(net.readout.weight.var()) / (1 / 150) - 1) < 0.08
    assert not any(layer.bias.any() for layer in (*net.layers, net.readout))
    # No two layers share their random numbers.
    first, second = np.asarray(net.layers[1].weight), np.asarray(net.layers[2].weight)
    assert abs(np.corrcoef(first[:150].ravel(), second.ravel())[0, 1]) < 0.03
    again = MLP(jax.random.key(1), hidden_layers=2, activation="relu", initialization="he_normal", **sizes)
    assert np.array_equal(again.layers[0].weight, net.layers[0].weight)
