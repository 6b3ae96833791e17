"""Profiles over depth against wide random networks and the other recursion, at depths where numbers overflow, too."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from initialization.random_networks import means, two_inputs

from ntkflow.initialization import DepthProfile, MeanField, depth_profile, tangent_by_depth
from ntkflow.kernels.infinite import AbstractDualActivation, Erf, FullyConnectedKernel, LeakyReLU, SmoothDual

WIDTHS = (40, 300, 500, 200)
SIGMA_W, SIGMA_B, GAP, NORMS = 1.5, 0.4, 0.35, (1.0, 1.3)


def profile(dual: AbstractDualActivation) -> DepthProfile:
    return depth_profile(MeanField(dual, SIGMA_W, SIGMA_B), 4, moment_s=NORMS[0] ** 2, moment_r=NORMS[1] ** 2, gap=GAP)


def matrices(log_s: np.ndarray, log_r: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    s, r = np.exp(log_s), np.exp(log_r)
    mixed = np.sqrt(s * r) * correlation
    return np.stack([np.stack([s, mixed], -1), np.stack([mixed, r], -1)], -2)


@pytest.mark.parametrize(("name", "dual"), [("relu", LeakyReLU()), ("erf", Erf())])
def test_wide_random_networks(name: str, dual: AbstractDualActivation) -> None:
    """q, p and Θ, biases and unequal widths included, within four standard errors of 400 networks.

    Paper 1's factor M_{ℓ+1}/M_{ℓ+2} in (8) would change p by 5/2 here.
    """
    measured = means(name, WIDTHS, SIGMA_W, SIGMA_B, two_inputs(WIDTHS[0], GAP, NORMS), networks=400)
    found = profile(dual)
    theta = tangent_by_depth(found, WIDTHS, biases=True)
    expected = {
        "q": matrices(found.log_variance_s, found.log_variance_r, found.correlation),
        "p": matrices(found.log_error_s, found.log_error_r, found.error_correlation),
        "ntk": matrices(theta.log_own_s[-1], theta.log_own_r[-1], theta.correlation[-1]),
    }
    for key, (mean, error) in measured.items():
        # p^L is 1 in every network.
        assert np.all(np.abs(mean - expected[key]) <= 4 * error + 1e-12), key
        # Of the last layer there is one neuron a network.
        assert np.max((error / mean)[: 3 if key == "q" else None]) < 0.025, key


@pytest.mark.parametrize("dual", [LeakyReLU(), Erf(), SmoothDual(jnp.tanh)], ids=["relu", "erf", "tanh"])
@pytest.mark.parametrize("biases", [True, False])
def test_the_other_recursion(dual: AbstractDualActivation, biases: bool) -> None:
    """Lemma 2 is ``FullyConnectedKernel`` in the standard parametrisation, but for the gradients of biases."""
    sigma_b = SIGMA_B if biases else 0.0
    inputs = jnp.asarray(two_inputs(WIDTHS[0], GAP, NORMS))
    kernel = FullyConnectedKernel(
        dual, 4, SIGMA_W, sigma_b, parametrization="standard", widths=WIDTHS[1:], biases=biases
    ).every_depth(inputs)
    network = MeanField(dual, SIGMA_W, sigma_b)
    found = depth_profile(network, 4, moment_s=NORMS[0] ** 2, moment_r=NORMS[1] ** 2, gap=GAP)
    theta = tangent_by_depth(found, WIDTHS, biases=biases)
    assert np.allclose(matrices(theta.log_own_s, theta.log_own_r, theta.correlation), kernel.ntk, rtol=1e-12)
    assert np.allclose(matrices(found.log_variance_s, found.log_variance_r, found.correlation), kernel.nngp, rtol=1e-12)


def test_lemma_2_as_a_sum() -> None:
    """κ₁ = Σ (α_{l−1}/α) q̂^{l−1} p^l and κ₂ alike; the bias gradients are Σ p^l."""
    found, alpha = profile(LeakyReLU()), np.array([0.2, 1.5, 2.5, 1.0])
    total = np.sum(alpha[1:] * alpha[:-1])
    theta = tangent_by_depth(found, tuple(alpha))
    q, p = np.exp(found.log_moment_s), np.exp(found.log_error_s)
    assert float(theta.kappa_1[-1]) == pytest.approx(float(np.sum(alpha * q * p) / total), rel=1e-13)
    mixed_q = np.exp((found.log_moment_s + found.log_moment_r) / 2) * (1 - found.moment_gap)
    mixed_p = np.exp((found.log_error_s + found.log_error_r) / 2) * found.error_correlation
    assert float(theta.kappa_2[-1]) == pytest.approx(float(np.sum(alpha * mixed_q * mixed_p) / total), rel=1e-13)
    assert np.allclose(theta.ratio[1:], theta.kappa_1[1:] / theta.kappa_2[1:], rtol=1e-13)
    with_biases = tangent_by_depth(found, tuple(alpha), biases=True)
    assert float(jnp.exp(with_biases.log_own_s[-1]) - jnp.exp(theta.log_own_s[-1])) == pytest.approx(float(p.sum()))


def test_where_float64_ends() -> None:
    """ReLU without biases: q^ℓ = χ^{ℓ−1} q¹ exactly, and correlations and κ₁/κ₂ do not depend on σ_w at all."""
    depth, ratios = 2000, []
    for weight in (8.0, 2.0, 0.5):
        found = depth_profile(MeanField(LeakyReLU(), weight**0.5), depth, gap=jnp.array([0.9, 1e-9]))
        chi = np.log(weight / 2)
        assert np.allclose(found.log_variance_s[:, 0], np.log(weight) + chi * np.arange(depth), rtol=1e-12, atol=1e-9)
        assert np.allclose(found.log_error_s[:, 1], chi * np.arange(depth)[::-1], rtol=1e-12, atol=1e-9)
        ratios.append(np.asarray(tangent_by_depth(found).ratio))
        assert np.all(np.isfinite(ratios[-1]))
    assert np.allclose(ratios[0], ratios[1], rtol=1e-9)
    assert np.allclose(ratios[2], ratios[1], rtol=1e-9)
    # The known limit of the off-diagonal at the edge, a quarter of the diagonal, is approached like ln L/L.
    assert 3.0 < ratios[1][-1, 0] < 4.0
    alone = np.exp(depth_profile(MeanField(LeakyReLU(), 8**0.5), 4).log_variance_s)
    assert np.allclose(alone, 8 * 4.0 ** np.arange(4))


def test_depth_one() -> None:
    """A linear network: Θ is M₀ q̂⁰, and α is an empty sum."""
    found = depth_profile(MeanField(Erf(), SIGMA_W, SIGMA_B), 1, gap=0.25)
    theta = tangent_by_depth(found, (7,), biases=True)
    assert float(jnp.exp(theta.log_own_s[0])) == pytest.approx(8.0)
    assert float(theta.correlation[0]) == pytest.approx((7 * 0.75 + 1) / 8)
    assert np.isinf(float(theta.kappa_1[0]))
    assert found.log_chi_s.shape == (0,)


def test_near_inputs_keep_their_digits() -> None:
    """1 − c of ReLU is g − (2g)^{3/2}/(3π)·… with no rounding of c in it."""
    found = depth_profile(MeanField(LeakyReLU(), 1.0), 2, gap=1e-14)
    theta = np.sqrt(2e-14)
    assert float(found.gap[1]) == pytest.approx(1e-14 - theta**3 / (3 * np.pi), rel=1e-9)


def test_what_is_refused() -> None:
    network = MeanField(LeakyReLU(), 1.0)
    with pytest.raises(ValueError, match="depth must be at least 1"):
        depth_profile(network, 0)
    with pytest.raises(ValueError, match="the direction of an input of 0 is undefined"):
        depth_profile(network, 2, moment_s=0.0)
    with pytest.raises(ValueError, match="gap must be between 0"):
        depth_profile(network, 2, gap=2.5)
    with pytest.raises(ValueError, match="needs 2 positive widths"):
        tangent_by_depth(depth_profile(network, 2), (3, 0))
    with pytest.raises(ValueError, match="quadrature is off"):
        depth_profile(MeanField(SmoothDual(jnp.tanh, nodes=16, terms=16), 30.0), 4)
