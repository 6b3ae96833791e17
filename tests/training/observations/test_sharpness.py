"""Sharpness against dense Hessians, step limits against whole Jacobians, thresholds against iterated recursions."""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from training.observations.cases import (
    CASES,
    CLASSES,
    ETA,
    LABELS,
    SAMPLES,
    TARGETS,
    M,
    Z,
    close,
    inputs,
    moment,
    network,
    observed,
    values,
)

from ntkflow.training.observations import SharpnessObservation, largest_eigenvalue, stability_threshold


@functools.cache
def dense(case: str, per_class: int = M) -> tuple[float, float, np.ndarray]:
    """Largest eigenvalues of ∇²L and of its Gauss–Newton part, of whole matrices, and the Jacobian they are made of."""
    parameters, rest = eqx.partition(network(case, 1), eqx.is_inexact_array)
    flat, unravel = ravel_pytree(parameters)
    chosen = np.array([i for i in range(SAMPLES) if i % M < per_class])
    x, y = inputs(case)[0][chosen], np.asarray(LABELS)[chosen]
    scale = Z * len(chosen) / SAMPLES

    def logits(flat: jax.Array) -> jax.Array:
        return jax.vmap(eqx.combine(unravel(flat), rest))(x)

    def loss(flat: jax.Array) -> jax.Array:
        f = logits(flat)
        if case == "entropy":
            return jnp.sum(jax.scipy.special.logsumexp(f, axis=1) - f[np.arange(len(y)), y]) / scale
        return jnp.sum((f - jnp.asarray(TARGETS.T[y], f.dtype)) ** 2) / (2 * scale)

    hessian, jacobian, f = jax.jit(lambda flat: (jax.hessian(loss)(flat), jax.jacrev(logits)(flat), logits(flat)))(flat)
    jacobian, gauss_newton = np.asarray(jacobian, float), 0.0
    for i, row in enumerate(np.asarray(f, float)):
        p = np.exp(row) / np.exp(row).sum()
        curved = np.diag(p) - np.outer(p, p) if case == "entropy" else np.eye(CLASSES)
        gauss_newton = gauss_newton + jacobian[i].T @ curved @ jacobian[i] / scale
    hessian = np.asarray(hessian, float)
    return np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1], np.linalg.eigvalsh(gauss_newton)[-1], jacobian


@pytest.mark.parametrize("case", ["mlp", *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[1:])])
def test_against_dense_matrices(case: str) -> None:
    found, (sharpness, gauss_newton, _) = values(case)["sharpness"], dense(case)
    assert abs(sharpness / gauss_newton - 1) > 1e-3  # They are not the same.
    close(found["sharpness"], sharpness, 1e-5)
    close(found["gauss_newton"], gauss_newton, 1e-5)
    close(found["step_limit"], 2 / gauss_newton, 1e-5)
    for name in ("sharpness", "gauss_newton"):
        assert (
            abs(found[name] - dict(sharpness=sharpness, gauss_newton=gauss_newton)[name])
            <= found[f"{name}_error"] + 1e-5
        )
        assert found[f"{name}_error"] <= 1e-4 * found[name]
        assert 2 <= found[f"{name}_products"] <= 40
    assert found["two_over_step_size"] == found["stability_threshold"] == 2 / ETA


def test_gauss_newton_is_the_kernel() -> None:
    """Its largest eigenvalue is that of Θ/Z over all pairs (output, sample)."""
    jacobian = dense("mlp")[2].reshape(SAMPLES * CLASSES, -1)
    close(values("mlp")["sharpness"]["step_limit"], 2 * Z / np.linalg.eigvalsh(jacobian @ jacobian.T)[-1], 1e-6)


def test_a_part_of_the_samples_and_a_cap() -> None:
    observation = SharpnessObservation(per_class=2, tolerance=1e-6, cap=60, momentum=0.9, nesterov=True)
    found = observation.measure(moment("mlp", 1), {})
    close(found["sharpness"], dense("mlp", 2)[0], 1e-8)
    assert found["stability_threshold"] == pytest.approx(2 * 1.9 / (2.8 * ETA), rel=1e-14)
    said = {variable.name: variable.long_name for variable in observation.variables(observed("mlp"))}
    assert "the first 2 of each class" in said["sharpness"]
    assert f"Z = {Z * 2 / M:g}" in said["sharpness"]
    assert "β = 0.9, Nesterov" in said["stability_threshold"]
    capped = SharpnessObservation(per_class=2, tolerance=1e-12, cap=3).measure(moment("mlp", 1), {})
    assert capped["sharpness_products"] == 3
    assert 1e-6 * found["sharpness"] < capped["sharpness_error"]
    assert 0 < found["sharpness"] - capped["sharpness"] <= capped["sharpness_error"]


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True), (0.5, True)])
def test_thresholds_by_iteration(momentum: float, nesterov: bool) -> None:
    """Just below, θ falls; just above it grows."""
    eta = 0.1
    for factor, grows in ((0.98, False), (1.02, True)):
        curvature = factor * stability_threshold(eta, momentum, nesterov=nesterov)
        theta, velocity = 1.0, 0.0
        for _ in range(2000):
            gradient = curvature * theta
            velocity = momentum * velocity + gradient
            theta -= eta * (gradient + momentum * velocity if nesterov else velocity)
        assert (abs(theta) > 1) == grows
    assert stability_threshold(0.0) == math.inf


@pytest.mark.parametrize(
    ("size", "dtype", "tolerance"), [(1, float, 1e-12), (2, float, 1e-12), (60, float, 1e-9), (60, np.float32, 1e-4)]
)
def test_lanczos(size: int, dtype: type, tolerance: float) -> None:
    """Indefinite matrices, whose smallest eigenvalue is the larger one in size."""
    generator = np.random.default_rng(size)
    matrix = generator.standard_normal((size, size))
    matrix = (matrix + matrix.T) / 2 - 5 * np.outer(matrix[0], matrix[0]) * (size > 1)
    held, start = jnp.asarray(matrix.astype(dtype)), jnp.asarray(generator.standard_normal(size).astype(dtype))
    found = largest_eigenvalue(lambda v: held @ v, start, tolerance=tolerance, cap=200)
    exact = np.linalg.eigvalsh(matrix)
    assert abs(found.value - exact[-1]) <= max(found.error, tolerance * abs(exact).max())
    assert found.products <= size


def test_lanczos_of_nothing_and_of_what_is_not_finite() -> None:
    start = jnp.arange(1.0, 5.0)
    nothing = largest_eigenvalue(lambda v: 0 * v, start, tolerance=1e-3, cap=10)
    assert (nothing.value, nothing.error, nothing.products) == (0.0, 0.0, 1)
    broken = largest_eigenvalue(lambda v: jnp.nan * v, start, tolerance=1e-3, cap=10)
    assert np.isnan(broken.value)
    assert broken.products == 1


def test_a_dead_network_allows_any_step() -> None:
    zero = jax.tree.map(lambda leaf: 0 * leaf, network("mlp"))
    biasless = eqx.tree_at(lambda net: net.readout.bias, zero, network("mlp").readout.bias)
    found = SharpnessObservation().measure(moment("mlp").__class__(biasless, observed("mlp"), 0, 0, 0.0), {})
    # Only the readout's bias moves the outputs: Θ is 1 for every pair of samples.
    assert found["step_limit"] == pytest.approx(2 * Z / SAMPLES, rel=1e-10)
    assert np.isnan(found["two_over_step_size"])
