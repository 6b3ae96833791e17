"""Stored kernels of neural-tangents (tests/oracles/neural_tangents) against the same networks rebuilt in Equinox."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.neural_tangents.rebuilt import HERE, NETWORKS, reference

from ntkflow.kernels import empirical_ntk
from ntkflow.kernels.empirical import MethodName, Of

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
OF = ("features", "logits")
METHODS: tuple[MethodName, ...] = ("structured", "jacobian", "jvp-vjp")
IMPLEMENTATIONS = ("jacobian", "structured", "ntvp")
SAMPLES, FEATURES, CLASSES = 6, 4, 3


def off(value: Any, expected: np.ndarray) -> float:
    """Largest difference relative to the largest entry."""
    value = np.asarray(value)
    assert value.shape == expected.shape
    return float(np.max(np.abs(value.astype(np.float64) - expected)) / np.max(np.abs(expected)))


def outputs(network: Any, x: jax.Array) -> jax.Array:
    """Features, then logits, of every sample."""
    return jax.vmap(lambda x: jnp.concatenate([network.features(x), network(x)]))(x)


@eqx.filter_jit
def values_and_jacobian(network: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    return outputs(network, x), jax.jacrev(lambda parameters: outputs(eqx.combine(parameters, rest), x))(parameters)


def test_the_stored_files_are_those_that_were_made() -> None:
    recorded = json.loads((HERE / "values.json").read_text())["sha256"]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in HERE.glob("*.npz")}
    assert found == recorded
    assert set(found) == {f"{name}.npz" for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_stored_is_worth_comparing_with(name: str) -> None:
    stored = reference(name)
    for of, count in (("features", FEATURES), ("logits", CLASSES)):
        kernel = stored.kernel(of, "float64")
        assert kernel.shape == (count, SAMPLES, count, SAMPLES)
        matrix = kernel.reshape(count * SAMPLES, -1)
        assert off(matrix, matrix.T) < 1e-14
        eigenvalues = np.linalg.eigvalsh(matrix)
        assert eigenvalues[0] > -1e-12 * eigenvalues[-1]
        # No output is dead, and the outputs differ: a kernel δ_{ks} K would not try what mixes them.
        own = np.einsum("kiki->ki", kernel)
        assert np.all(np.count_nonzero(own, axis=1) >= SAMPLES // 2)
        assert off(own, np.broadcast_to(own[:1], own.shape).copy()) > 0.05
        assert np.linalg.norm(kernel - np.einsum("kisj,ks->kisj", kernel, np.eye(count))) > 0.1 * np.linalg.norm(kernel)
        assert off(np.einsum("kikj->ij", kernel) / count, stored.mean_kernel(of, "float64")) < 1e-14


@pytest.mark.parametrize("name", NETWORKS)
def test_their_three_implementations_agree(name: str) -> None:
    stored = reference(name)
    for of in OF:
        exact = stored.kernel(of, "float64"), stored.mean_kernel(of, "float64")
        for implementation in IMPLEMENTATIONS:
            for precision, tolerance in (("float64", 1e-14), ("float32", 1e-6)):
                assert off(stored.kernel(of, precision, implementation), exact[0]) < tolerance
                assert off(stored.mean_kernel(of, precision, implementation), exact[1]) < tolerance


@pytest.mark.parametrize("name", NETWORKS)
def test_the_rebuilt_network_is_the_stored_one(name: str) -> None:
    stored = reference(name)
    network, x = stored.network("float64"), stored.inputs("float64")
    assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array)))
    values, jacobian = values_and_jacobian(network, x)
    leaves = [np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(jacobian)]
    whole = np.concatenate(leaves, axis=-1)
    for of, part in (("features", slice(FEATURES)), ("logits", slice(FEATURES, None))):
        assert off(values[:, part], stored.outputs(of, "float64")) < 1e-14
        kernel = np.einsum("ikp,jsp->kisj", whole[:, part], whole[:, part], optimize=True)
        assert off(kernel, stored.kernel(of, "float64")) < 1e-13


def comparisons() -> Iterator[Any]:
    """Every network, method, precision and choice of outputs; to compile all of them takes a minute or two.

    Those that are not slow leave out no network, and of no method a precision or a kind of outputs.
    """
    for place, (name, method) in enumerate(itertools.product(NETWORKS, METHODS)):
        for precision, of in itertools.product(TOLERANCE, OF):
            usual = of == ("logits" if precision == "float64" else "features")
            chosen = usual and (method == "structured" or precision == tuple(TOLERANCE)[place % 2])
            yield pytest.param(name, method, precision, of, marks=() if chosen else pytest.mark.slow)


@pytest.mark.parametrize(("name", "method", "precision", "of"), list(comparisons()))
def test_every_method_gives_their_kernels(name: str, method: MethodName, precision: str, of: Of) -> None:
    stored = reference(name)
    network, x = stored.network(precision), stored.inputs(precision)
    found = empirical_ntk(network, x, of=of, method=method)
    assert found.method == method
    assert found.values.dtype == precision
    assert off(found.values, stored.kernel(of, precision)) < TOLERANCE[precision]


@pytest.mark.parametrize("name", ["dense_erf", "convolution", "normalised"])
def test_the_mean_over_features_between_different_samples_is_theirs(name: str) -> None:
    stored = reference(name)
    network, x = stored.network("float64"), stored.inputs("float64")
    found = empirical_ntk(network, x[:4], x[2:], of="features", trace="mean").values
    assert off(found, stored.mean_kernel("features", "float64")[:4, 2:]) < TOLERANCE["float64"]
