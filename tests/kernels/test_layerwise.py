"""Layer-wise kernels against the Gram matrix of the whole parameter Jacobian."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference
from kernels.jacobians import gram, shaken

from ntkflow.kernels import layer_factors
from ntkflow.networks import ACTIVATIONS, MLP

INPUTS = np.random.default_rng(0).standard_normal((4, 3))


def network(activation: str, hidden_layers: int) -> MLP:
    key = jax.random.key(1)
    sizes = {"inputs": 3, "outputs": 2, "width": 5, "features": 4}
    return shaken(MLP(key, hidden_layers=hidden_layers, activation=activation, **sizes))


@pytest.mark.parametrize("hidden_layers", [0, 1, 2])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_against_the_parameter_jacobian(activation: str, hidden_layers: int) -> None:
    net = network(activation, hidden_layers)
    factors = layer_factors(net, jnp.asarray(INPUTS))
    for of, full, diagonal, traced in [
        ("features", factors.full_feature_kernel, factors.neuron_feature_kernels, factors.traced_feature_kernel),
        ("logits", factors.full_logit_kernel, factors.output_logit_kernels, factors.traced_logit_kernel),
    ]:
        expected = gram(net, INPUTS, of)
        own = np.einsum("pipj->pij", expected)
        assert relative_difference(full(), expected) <= 1e-13
        assert relative_difference(diagonal(), own) <= 1e-13
        assert relative_difference(traced(), own.mean(axis=0)) <= 1e-13


def test_the_link_between_the_two_kernels() -> None:
    """Θ_{k,s} = w_kᵀ Θʰ w_s + δ_{ks}(⟨h, h'⟩ + 1), from Jacobians alone: what the layer-wise code relies on."""
    net = network("gelu", 1)
    features, logits = gram(net, INPUTS, "features"), gram(net, INPUTS, "logits")
    weight, h = np.asarray(net.readout.weight), np.asarray(layer_factors(net, jnp.asarray(INPUTS)).features)
    own = np.einsum("ks,ij->kisj", np.eye(2), h @ h.T + 1)
    assert relative_difference(np.einsum("kp,piqj,sq->kisj", weight, features, weight) + own, logits) <= 1e-13


def test_inputs_of_any_shape() -> None:
    net = network("tanh", 1)
    images = jnp.asarray(INPUTS)[:, None, :]
    expected = layer_factors(net, jnp.asarray(INPUTS)).traced_logit_kernel()
    assert relative_difference(layer_factors(net, images).traced_logit_kernel(), expected) <= 1e-15
