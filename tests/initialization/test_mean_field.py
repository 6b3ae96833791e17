"""The maps of one layer against integrals computed otherwise."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from initialization.random_networks import FUNCTIONS
from scipy.integrate import dblquad, quad

from ntkflow.initialization import MeanField
from ntkflow.kernels.infinite import AbstractDualActivation, Erf, LeakyReLU, SmoothDual

DUALS: dict[str, AbstractDualActivation] = {"relu": LeakyReLU(), "erf": Erf(), "tanh": SmoothDual(jnp.tanh)}
SIGMA_W, SIGMA_B, Q_U, Q_V, CORRELATION = 1.7, 0.4, 0.9, 2.3, 0.6


def density(z: float) -> float:
    return float(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def over_one(function: object, variance: float) -> float:
    """E f(√q z), with a cut at 0."""
    halves = [quad(lambda z: function(np.sqrt(variance) * z) * density(z), *ends)[0] for ends in ((-9, 0), (0, 9))]  # type: ignore[operator]
    return sum(halves)


def over_two(function: object, correlation: float) -> float:
    """E f(√q_u z₁) f(√q_v(c z₁ + √(1 − c²) z₂)), cut where either is 0."""
    across = np.sqrt(1 - correlation**2)

    def integrand(y: float, x: float) -> float:
        u, v = np.sqrt(Q_U) * x, np.sqrt(Q_V) * (correlation * x + across * y)
        return function(np.array(u)) * function(np.array(v)) * density(x) * density(y)  # type: ignore[operator]

    total = 0.0
    for ends in ((-8.0, 0.0), (0.0, 8.0)):
        cut = lambda x: -correlation * x / across  # noqa: E731
        total += dblquad(integrand, *ends, lambda _: -9.0, cut, epsabs=1e-9)[0]
        total += dblquad(integrand, *ends, cut, lambda _: 9.0, epsabs=1e-9)[0]
    return total


@pytest.mark.parametrize("name", DUALS)
def test_one_layer_against_adaptive_quadrature(name: str) -> None:
    """(5)–(9) from their definitions."""
    network = MeanField(DUALS[name], SIGMA_W, SIGMA_B)
    phi, slope = FUNCTIONS[name]
    weight, bias = SIGMA_W**2, SIGMA_B**2
    own = [weight * over_one(lambda z: phi(np.array(z)) ** 2, q) + bias for q in (Q_U, Q_V)]
    assert np.allclose(network.variance_map(jnp.array([Q_U, Q_V])), own, rtol=1e-9)
    chi = [weight * over_one(lambda z: slope(np.array(z)) ** 2, q) for q in (Q_U, Q_V)]
    assert np.allclose(network.chi_1(jnp.array([Q_U, Q_V])), chi, rtol=1e-9)
    step = network.pair_map(jnp.array(Q_U), jnp.array(Q_V), jnp.array(1 - CORRELATION))
    covariance = weight * over_two(phi, CORRELATION) + bias
    assert float(step.gap) == pytest.approx(1 - covariance / np.sqrt(own[0] * own[1]), abs=1e-7)
    assert float(step.chi) == pytest.approx(weight * over_two(slope, CORRELATION), rel=1e-7)
    square = lambda q: over_one(lambda z: phi(np.array(z)) ** 2, q)  # noqa: E731
    by_differences = [weight * (square(q + 1e-4) - square(q - 1e-4)) / 2e-4 for q in (Q_U, Q_V)]
    assert np.allclose(network.variance_slope(jnp.array([Q_U, Q_V])), by_differences, rtol=1e-6)


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.0, 1.0), (-1.0, 0.0), (1.0, -0.1), (float("nan"), 0.0)])
def test_what_is_refused(sigma_w: float, sigma_b: float) -> None:
    with pytest.raises(ValueError, match="sigma_w must be positive and sigma_b not negative"):
        MeanField(LeakyReLU(), sigma_w, sigma_b)
