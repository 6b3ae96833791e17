"""The logits' kernel between two sets of samples against the whole Jacobian, taken without JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from kernels.jacobians import gram, shaken

from ntkflow.kernels import layer_factors, tangent_matrix
from ntkflow.networks import MLP

NETWORK = shaken(MLP(jax.random.key(0), inputs=4, outputs=3, width=5, hidden_layers=1, features=4, activation="gelu"))
INPUTS = np.random.default_rng(0).standard_normal((7, 4))


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_it_is_the_product_of_jacobians(batch: int) -> None:
    whole = gram(NETWORK, INPUTS, "logits")
    own = tangent_matrix(NETWORK, jnp.asarray(INPUTS[:5]), jnp.asarray(INPUTS[5:]), batch=batch)
    assert relative_difference(own, whole[:, :5, :, 5:]) <= 1e-12


def test_it_is_what_the_layers_give() -> None:
    inputs = jnp.asarray(INPUTS)
    by_layers = layer_factors(NETWORK, inputs).full_logit_kernel()
    assert relative_difference(tangent_matrix(NETWORK, inputs, inputs), by_layers) <= 1e-13


def test_lowering() -> None:
    inputs = jnp.asarray(INPUTS)
    text = lower_for_cuda(lambda net, rows: tangent_matrix(net, rows, rows), NETWORK, inputs)
    assert "stablehlo" in text
