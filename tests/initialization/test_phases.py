"""Fixed points, phases and depth scales against root finders, closed forms, and the rates at which profiles settle."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import erf

from ntkflow.initialization import MeanField, deep_limit, depth_profile, variance_fixed_points, variance_limit
from ntkflow.kernels.infinite import GELU, Erf, LeakyReLU, SmoothDual

TANH = SmoothDual(jnp.tanh)
SQUARE = SmoothDual(lambda z: z * z)


def erf_moment(q: float) -> float:
    return float(2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)))


@pytest.mark.parametrize(
    ("sigma_w2", "sigma_b", "phase", "variance"),
    [
        (1.0, 1.0, "ordered", 2.0),
        (1.5, 0.5, "ordered", 1.0),
        (2.0, 0.0, "edge", 1.0),
        (2.0, 0.1, "edge", math.inf),
        (2.0, 1e-4, "edge", math.inf),
        (1.0, 0.0, "ordered", 0.0),
        (3.0, 0.0, "chaotic", math.inf),
        (3.0, 1.0, "chaotic", math.inf),
    ],
)
def test_relu(sigma_w2: float, sigma_b: float, phase: str, variance: float) -> None:
    """χ₁ = σ_w²/2 whatever q does; a fixed point only for σ_b > 0 and σ_w² < 2, and all of them at (2, 0)."""
    network = MeanField(LeakyReLU(), sigma_w2**0.5, sigma_b)
    found = deep_limit(network)
    assert (found.phase, found.chi_1) == (phase, pytest.approx(sigma_w2 / 2, rel=1e-12))
    assert found.variance == pytest.approx(variance, rel=1e-12)
    expected = 0 < variance < math.inf and sigma_b > 0
    assert len(found.fixed_points) == expected
    if expected:
        (point,) = found.fixed_points
        assert point.stable
        assert point.slope == pytest.approx(sigma_w2 / 2)
        assert found.variance_length == found.correlation_length == pytest.approx(-1 / math.log(sigma_w2 / 2))
    length = math.inf if sigma_w2 == 2 else 1 / abs(math.log(sigma_w2 / 2))
    assert found.gradient_length == pytest.approx(length)
    assert found.trainability_depth == pytest.approx(6 * length)
    # Correlations of ReLU go to 1 in every phase.
    assert found.gap == 0.0


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.7, 0.3), (1.5, 0.3), (2.5, 0.0), (1.2, 0.0)])
def test_erf_against_a_root_finder(sigma_w: float, sigma_b: float) -> None:
    found = deep_limit(MeanField(Erf(), sigma_w, sigma_b))
    q = brentq(lambda q: sigma_w**2 * erf_moment(q) + sigma_b**2 - q, 1e-4, 50, xtol=1e-14)
    assert found.variance == pytest.approx(q, rel=1e-12)
    assert found.chi_1 == pytest.approx(sigma_w**2 * 4 / np.pi / np.sqrt(1 + 4 * q), rel=1e-12)
    slope = (erf_moment(q + 1e-5) - erf_moment(q - 1e-5)) / 2e-5
    assert found.variance_slope == pytest.approx(sigma_w**2 * slope, rel=1e-8)
    assert found.phase == ("chaotic" if found.chi_1 > 1 else "ordered")
    covariance = lambda c: sigma_w**2 * 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q)) + sigma_b**2  # noqa: E731
    if found.chi_1 > 1:
        c = brentq(lambda c: covariance(c) / q - c, -1e-9, 1 - 1e-6, xtol=1e-14)
        assert found.correlation == pytest.approx(c, abs=1e-9)
    else:
        c = 1.0
        assert found.gap == 0.0
    chi = sigma_w**2 * 4 / np.pi / np.sqrt((1 + 2 * q) ** 2 - (2 * q * c) ** 2)
    assert found.correlation_slope == pytest.approx(chi, rel=1e-7)


def test_lengths_are_the_rates_at_which_profiles_settle() -> None:
    """q − q* and c − c* fall by the slopes, measured over a profile in each phase."""
    for sigma_w, sigma_b in ((0.9, 0.3), (1.7, 0.3)):
        network = MeanField(Erf(), sigma_w, sigma_b)
        limit, found = deep_limit(network), depth_profile(network, 60, moment_s=0.5, gap=0.3)
        q = np.abs(np.exp(found.log_variance_s[:12]) - limit.variance)
        rate = np.log(q[8] / q[11]) / 3
        assert rate == pytest.approx(1 / limit.variance_length, rel=0.02)
        # In the ordered phase 1 − c keeps its digits down to 10⁻³⁰⁸, in the chaotic one c − c* does not.
        last = 40 if limit.phase == "ordered" else 26
        c = np.abs(np.asarray(found.gap) - limit.gap)
        assert np.log(c[last - 8] / c[last]) / 8 == pytest.approx(1 / limit.correlation_length, rel=0.02)


def test_tanh() -> None:
    """Its variance against a sum over a grid, at either side of the edge; no c* where it becomes linear."""
    z, step = np.linspace(-12, 12, 4001, retstep=True)
    weight = np.exp(-(z**2) / 2) * step / np.sqrt(2 * np.pi)
    for sigma_w, sigma_b, phase in ((1.5, 1.0, "ordered"), (2.0, 1.0, "chaotic")):
        found = deep_limit(MeanField(TANH, sigma_w, sigma_b))
        q = brentq(lambda q: sigma_w**2 * weight @ np.tanh(np.sqrt(q) * z) ** 2 + sigma_b**2 - q, 1e-3, 20)  # noqa: B023
        assert (found.phase, found.variance) == (phase, pytest.approx(q, rel=1e-11))
        chi = sigma_w**2 * weight @ np.cosh(np.sqrt(q) * z) ** -4.0
        assert found.chi_1 == pytest.approx(chi, rel=1e-10)
    fading = deep_limit(MeanField(TANH, 0.8))
    assert (fading.phase, fading.variance) == ("ordered", 0.0)
    assert math.isnan(fading.gap)
    assert fading.trainability_depth == pytest.approx(6 / abs(math.log(0.64)))


def test_several_fixed_points_and_none() -> None:
    """φ = z² with E[φ²] = 3q²: two for σ_b² < 1/(12σ_w²), none above; from beyond the unstable one q explodes."""
    network = MeanField(SQUARE, 0.5, 0.1)
    low, high = np.roots([0.75, -1, 0.01])[::-1]
    points = variance_fixed_points(network)
    assert [point.variance for point in points] == pytest.approx([low, high], rel=1e-12)
    assert [point.slope for point in points] == pytest.approx([1.5 * low, 1.5 * high], rel=1e-10)
    assert [point.stable for point in points] == [True, False]
    assert deep_limit(network).variance == pytest.approx(low, rel=1e-12)
    beyond = deep_limit(network, start=1.4)
    assert (beyond.phase, beyond.variance, beyond.chi_1) == ("chaotic", math.inf, math.inf)
    assert variance_fixed_points(MeanField(SQUARE, 1.0, 1.0)) == ()
    assert deep_limit(MeanField(SQUARE, 1.0, 1.0)).variance == math.inf
    # GELU: from 1 to ∞ or to 0, the unstable fixed point between.
    gelu = [deep_limit(MeanField(GELU(), 1.6), start=start).variance for start in (0.5, 0.7)]
    assert gelu == [0.0, math.inf]


def test_many_at_once() -> None:
    weight = jnp.array([[0.5], [1.5], [2.5]])
    bias = jnp.array([[0.0, 0.09, 1.0, 4.0]])
    found = variance_limit(Erf(), weight, bias)
    assert found.shape == (3, 4)
    for (row, column), q in np.ndenumerate(np.asarray(found)):
        alone = deep_limit(MeanField(Erf(), float(weight[row, 0]) ** 0.5, float(bias[0, column]) ** 0.5))
        assert q == pytest.approx(alone.variance, rel=1e-12)
    assert float(erf(0.0)) == float(found[0, 0]) == 0.0


def test_linear_networks() -> None:
    found = deep_limit(MeanField(LeakyReLU(1.0), 1.0))
    assert (found.phase, found.variance) == ("edge", 1.0)
    assert math.isnan(found.gap)
    assert deep_limit(MeanField(LeakyReLU(1.0), 0.5, 1.0)).correlation_slope == pytest.approx(0.25)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="start must be positive"):
        deep_limit(MeanField(Erf(), 1.0), start=0.0)
    with pytest.raises(ValueError, match="quadrature is off"):
        deep_limit(MeanField(SmoothDual(jnp.tanh, nodes=16, terms=16), 30.0))
