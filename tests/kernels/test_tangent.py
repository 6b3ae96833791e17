"""The tangent kernel as an operator, its largest eigenvalue, and the step that it allows."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference
from kernels.jacobians import gram, shaken

from ntkflow.kernels import TangentKernel, empirical_ntk, stable_step_limit, top_eigenvalue
from ntkflow.networks import MLP

INPUTS = np.random.default_rng(0).standard_normal((6, 3))
NETWORK = shaken(MLP(jax.random.key(1), inputs=3, outputs=2, width=5, hidden_layers=1, features=4, activation="tanh"))


def matrix(of: str) -> np.ndarray:
    kernel = gram(NETWORK, INPUTS, of)
    size = kernel.shape[0] * kernel.shape[1]
    return kernel.reshape(size, size)


@pytest.mark.parametrize("of", ["features", "logits"])
def test_apply_against_the_dense_kernels(of: str) -> None:
    kernel = TangentKernel(NETWORK, jnp.asarray(INPUTS), of)
    neurons, samples = kernel.output_shape()
    assert (neurons, samples) == (4 if of == "features" else 2, 6)
    array = np.random.default_rng(2).standard_normal((neurons, samples))
    applied = eqx.filter_jit(lambda kernel, array: kernel.apply(array))(kernel, jnp.asarray(array))
    assert relative_difference(applied, (matrix(of) @ array.ravel()).reshape(array.shape)) <= 1e-13
    dense = empirical_ntk(NETWORK, jnp.asarray(INPUTS), of=of).values
    assert relative_difference(applied, np.einsum("piqj,qj->pi", np.asarray(dense), array)) <= 1e-13


@pytest.mark.parametrize("of", ["features", "logits"])
def test_top_eigenvalue(of: str) -> None:
    kernel = TangentKernel(NETWORK, jnp.asarray(INPUTS), of)
    assert abs(top_eigenvalue(kernel, kernel.output_shape()) / np.linalg.eigvalsh(matrix(of))[-1] - 1) <= 1e-6


@pytest.mark.parametrize(("of", "size"), [("logits", 2), ("features", 4)])
def test_top_eigenvalue_of_few_numbers(of: str, size: int) -> None:
    """Two are too few for Lanczos."""
    kernel = TangentKernel(NETWORK, jnp.asarray(INPUTS[:1]), of)
    expected = np.linalg.eigvalsh(gram(NETWORK, INPUTS[:1], of).reshape(size, size))[-1]
    assert abs(top_eigenvalue(kernel, kernel.output_shape()) / expected - 1) <= 1e-12


def test_top_eigenvalue_of_a_dead_network() -> None:
    """All activations in the flat part of ReLU: Θʰ is 0, and Lanczos has no vector to start from."""
    dead = MLP(jax.random.key(0), inputs=3, outputs=2, width=1, hidden_layers=0, features=4, activation="relu")
    dead = eqx.tree_at(lambda network: network.layers[0].bias, dead, jnp.full(4, -100.0))
    kernel = TangentKernel(dead, jnp.asarray(INPUTS), "features")
    assert top_eigenvalue(kernel, kernel.output_shape()) == 0.0


def test_descent_shrinks_below_the_limit_and_grows_above() -> None:
    """r ← r − (η/Z) Θ r, step by step, with the dense kernel of a Jacobian."""
    limit, dense = stable_step_limit(NETWORK, jnp.asarray(INPUTS), 7.0), matrix("logits")
    start = np.random.default_rng(3).standard_normal(len(dense))
    norms = {}
    for factor in (0.999, 1.001):
        residual = start
        for _ in range(20_000):
            residual = residual - factor * limit / 7.0 * (dense @ residual)
        norms[factor] = np.linalg.norm(residual) / np.linalg.norm(start)
    assert norms[0.999] < 0.9
    assert norms[1.001] > 1e6
