"""Ensembles of infinitely wide networks: beside the GP posterior, and beside regressions from sampled starts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from ntkflow.flows import DenseModes, KernelRegressionFlow, RegressionOutputs, WideEnsemble

N, TESTS, OUTPUTS, Z = 7, 4, 3, 7.0
TIMES = jnp.asarray([0.0, 0.7, 30.0])
generator = np.random.default_rng(0)
POINTS = generator.standard_normal((N + TESTS, 5))
TARGETS = jnp.asarray(generator.standard_normal((OUTPUTS, N)))


def gram(power: float) -> np.ndarray:
    """A positive definite kernel on all samples."""
    squares = np.sum((POINTS[:, None] - POINTS[None]) ** 2, axis=2)
    return np.exp(-squares / 20) * (1 + 0.3 * np.abs(POINTS @ POINTS.T)) ** power


NNGP, THETA = gram(0.0), gram(0.0) * 2 + POINTS @ POINTS.T


def ensemble(theta: np.ndarray, ridge: float = 0.0) -> WideEnsemble:
    return WideEnsemble(
        DenseModes.of(jnp.asarray(theta[:N, :N]), jnp.asarray(theta[N:, :N])),
        nngp=jnp.asarray(NNGP[:N, :N]),
        nngp_cross=jnp.asarray(NNGP[N:, :N]),
        nngp_test=jnp.asarray(np.diag(NNGP)[N:]),
        targets=TARGETS,
        loss_scale=Z,
        ridge=ridge,
    )


@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_training_the_last_layer_alone_ends_at_the_posterior(ridge: float) -> None:
    found = ensemble(NNGP, ridge).limit()
    inverse = np.linalg.inv(NNGP[:N, :N] + ridge * np.eye(N))
    cross = NNGP[N:, :N]
    np.testing.assert_allclose(found.mean_test, TARGETS @ inverse @ cross.T, rtol=1e-9)
    posterior = np.diag(NNGP)[N:] - np.einsum("mi,ij,mj->m", cross, inverse, cross)
    without_noise = posterior - ridge * np.einsum("mi,ij,mj->m", cross, inverse @ inverse, cross)
    np.testing.assert_allclose(found.variance_test, without_noise, rtol=1e-8, atol=1e-12)
    if ridge == 0:
        np.testing.assert_allclose(found.mean_train, TARGETS, rtol=1e-8)
        np.testing.assert_allclose(found.variance_train, 0, atol=1e-9)
    else:
        assert bool(jnp.all(found.variance_test < posterior - 1e-6))


@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_sampled_starts(ridge: float) -> None:
    """Regressions from f₀ drawn from the process: the sample's mean and variance within 4.5 standard errors.

    Of 2 × 132 numbers the largest of 264 normal deviates is beyond that with probability 0.002.
    """
    draws = 4000
    made = ensemble(THETA, ridge)
    root = np.linalg.cholesky(NNGP + 1e-12 * np.eye(N + TESTS))
    starts = jnp.asarray(root @ np.random.default_rng(1).standard_normal((N + TESTS, draws))).T

    def trained(start: jax.Array) -> RegressionOutputs:
        first = RegressionOutputs(*(jnp.broadcast_to(part, (OUTPUTS, part.size)) for part in (start[:N], start[N:])))
        flow = KernelRegressionFlow(made.modes, targets=TARGETS, loss_scale=Z, initial=first, ridge=ridge)
        return flow.at(TIMES)

    outputs = jax.jit(jax.vmap(trained))(starts)
    found = made.at(TIMES)
    for values, mean, variance in (
        (outputs.train, found.mean_train, found.variance_train),
        (outputs.test, found.mean_test, found.variance_test),
    ):
        spread = np.broadcast_to(np.sqrt(variance)[:, None], mean.shape)
        error = np.mean(values, axis=0) - mean
        assert np.max(np.abs(error) / (spread / np.sqrt(draws) + 1e-9)) <= 4.5
        # The variance of a normal sample's variance is 2σ⁴/(n − 1).
        error = np.var(values, axis=0, ddof=1) - spread**2
        assert np.max(np.abs(error) / (spread**2 * np.sqrt(2 / draws) + 1e-9)) <= 4.5


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_steps_of_descent(momentum: float) -> None:
    """f(X) and f(x) are affine in f₀: the map by plain loops on every unit vector, and its covariance."""
    step, steps, ridge = 0.3, 9, 0.2
    found = ensemble(THETA, ridge).after_steps(step, jnp.asarray([0.0, steps]), momentum)
    everywhere = np.concatenate([np.eye(N + TESTS), np.zeros((1, N + TESTS))])
    for output, targets in enumerate(np.asarray(TARGETS)):
        # One start a row, and the start 0, whose end is the mean.
        coefficients = velocity = np.zeros((N + TESTS + 1, N))
        for _ in range(steps):
            residual = everywhere[:, :N] + coefficients @ THETA[:N, :N] - targets
            velocity = momentum * velocity - step / Z * (residual + ridge * coefficients)
            coefficients = coefficients + velocity
        ends = everywhere + coefficients @ THETA[:N]
        linear = ends[:-1] - ends[-1]
        variance = np.diag(linear.T @ NNGP @ linear)
        np.testing.assert_allclose(np.r_[found.mean_train[1, output], found.mean_test[1, output]], ends[-1], rtol=1e-10)
        np.testing.assert_allclose(np.r_[found.variance_train[1], found.variance_test[1]], variance, rtol=1e-9)
    np.testing.assert_allclose(found.variance_test[0], np.diag(NNGP)[N:], rtol=1e-12)


def test_the_start_is_the_process_itself() -> None:
    found = ensemble(THETA).at(TIMES[:1])
    assert not np.any(found.mean_test)
    np.testing.assert_allclose(found.variance_test[0], np.diag(NNGP)[N:], rtol=1e-12)
    np.testing.assert_allclose(found.variance_train[0], np.diag(NNGP)[:N], rtol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    coupled = jnp.einsum("kl,ij->kilj", jnp.eye(2), jnp.asarray(THETA[:N, :N]))
    arrays = {
        "nngp": jnp.asarray(NNGP[:N, :N]),
        "nngp_cross": jnp.zeros((0, N)),
        "nngp_test": jnp.zeros(0),
        "targets": TARGETS,
        "loss_scale": Z,
    }
    with pytest.raises(ValueError, match=r"one kernel for every output, not a coupled one"):
        WideEnsemble(DenseModes.of(coupled), **arrays)
    modes = DenseModes.of(jnp.asarray(THETA[:N, :N]), jnp.asarray(THETA[N:, :N]))
    with pytest.raises(ValueError, match=r"covariances of shapes \(7, 7\), \(0, 7\), \(0,\) do not fit .* 4 test"):
        WideEnsemble(modes, **arrays)


def test_it_lowers_for_cuda() -> None:
    made = ensemble(THETA)
    lowered = export.export(jax.jit(lambda times: made.at(times)), platforms=["cuda"])(TIMES)
    assert "stablehlo" in lowered.mlir_module()
