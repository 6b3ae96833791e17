"""Duals of activations against integrals at 50 digits, against each other, and against Monte Carlo."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from kernels.infinite import reference

from ntkflow.kernels.infinite import (
    GELU,
    AbstractDualActivation,
    Erf,
    KinkedDual,
    LeakyReLU,
    PairMoments,
    Sine,
    SmoothDual,
    Step,
)

GELU_OF: Callable[[jax.Array], jax.Array] = functools.partial(jax.nn.gelu, approximate=False)


def elu(z: jax.Array) -> jax.Array:
    return jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0.0)))


def hard_tanh(z: jax.Array) -> jax.Array:
    return jnp.clip(z, -1.0, 0.7)


@eqx.filter_jit
def pairs(dual: AbstractDualActivation, q_u: jax.Array, q_v: jax.Array, gap: jax.Array) -> PairMoments:
    return dual.pair(q_u, q_v, gap)


def apart(found: jax.Array, exact: list[Any]) -> float:
    """Largest difference of √gap: what an angle is off by."""
    return max(abs(float(mp.sqrt(mp.mpf(float(a))) - mp.sqrt(b))) for a, b in zip(found, exact, strict=True))


def relative(found: jax.Array, exact: list[Any]) -> float:
    return max(abs(float(mp.mpf(float(a)) / b - 1)) for a, b in zip(found, exact, strict=True))


# (q_u, q_v, gap): near and far, equal and unequal, small and large.
POINTS = [(0.3, 0.3 * (1 + 1e-6), 1e-12), (1.0, 0.4, 0.3), (0.01, 0.5, 1.8)]


def of_erf(z: Any) -> tuple[Any, Any]:
    z *= mp.mpf(0.6)
    return mp.erf(z), mp.mpf(1.2) / mp.sqrt(mp.pi) * mp.exp(-(z**2))


def of_gelu(z: Any) -> tuple[Any, Any]:
    share = mp.ncdf(z)
    return z * share, share + z * mp.exp(-(z**2) / 2) / mp.sqrt(2 * mp.pi)


def of_sine(z: Any) -> tuple[Any, Any]:
    z = mp.mpf(1.5) * z + mp.mpf(0.4)
    return mp.sin(z), mp.mpf(1.5) * mp.cos(z)


def of_tanh(z: Any) -> tuple[Any, Any]:
    value = mp.tanh(z)
    return value, 1 - value**2


SMOOTH = {"erf": (Erf(0.6), of_erf), "gelu": (GELU(), of_gelu), "sine": (Sine(1.5, 0.4), of_sine)}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_closed_forms_against_integrals(name: str) -> None:
    dual, function = SMOOTH[name]
    # Entire, but e^{−z²} grows off the axis: a strip in which it has not yet.
    exact = [reference.smooth_moments(function, *point, strip=mp.mpf(1.5), digits=15) for point in POINTS]
    found = pairs(dual, *(jnp.asarray(column) for column in np.transpose(POINTS)))
    assert apart(found.gap, [one[0] for one in exact]) < 1e-13
    assert relative(found.derivative, [one[1] for one in exact]) < 1e-12


@pytest.mark.parametrize(
    ("dual", "low", "high", "power"),
    [
        (LeakyReLU(), 0, 1, 1),
        (LeakyReLU(0.2), 0.2, 1, 1),
        (LeakyReLU(-1.0), -1, 1, 1),
        (Step(), 0, 1, 0),
        (Step(-1.0), -1, 1, 0),
    ],
    ids=["relu", "leaky", "absolute", "heaviside", "sign"],
)
def test_kinked_closed_forms_against_integrals(
    dual: AbstractDualActivation, low: float, high: float, power: int
) -> None:
    gaps = [1e-24, 1e-10, 1e-3, 0.4, 1.0, 1.9]
    exact = [reference.homogeneous_moments(mp.mpf(low), mp.mpf(high), power, gap) for gap in gaps]
    found = pairs(dual, jnp.asarray(0.7), jnp.asarray(2.0), jnp.asarray(gaps))
    assert apart(found.gap, [one[0] for one in exact]) < 1e-14
    if power == 1:
        np.testing.assert_allclose(found.derivative, [float(one[1]) for one in exact], rtol=1e-13, atol=1e-15)
    else:
        assert not np.any(found.derivative)


def test_linear_and_homogeneous() -> None:
    gaps = jnp.asarray([0.0, 1e-9, 0.5, 2.0])
    found = pairs(LeakyReLU(1.0), jnp.asarray(0.7), jnp.asarray(2.0), gaps)
    np.testing.assert_array_equal(found.gap, gaps)
    np.testing.assert_array_equal(found.derivative, 1.0)


TANH_POINTS = [(1.0, 1.0, 1e-12), (0.01, 0.01, 1.5), (1.0, 0.5, 0.2), (100.0, 100.0, 1e-12)]


def test_tanh_against_integrals_at_fifty_digits() -> None:
    exact = [reference.smooth_moments(of_tanh, *point, strip=mp.pi / 2, digits=18) for point in TANH_POINTS]
    found = pairs(SmoothDual(jnp.tanh), *(jnp.asarray(column) for column in np.transpose(TANH_POINTS)))
    assert apart(found.gap, [one[0] for one in exact]) < 1e-12
    assert relative(found.derivative, [one[1] for one in exact]) < 1e-12


def test_tanh_on_a_grid_of_variances_and_gaps() -> None:
    """The two-dimensional trapezoidal rule in float64 where it resolves tanh(10 z): rounding alone, 10⁻¹⁴."""
    q, gaps = np.asarray([0.01, 1.0, 100.0]), np.asarray([1e-3, 0.1, 0.8, 1.4, 2.0])
    step = 0.024
    z = np.arange(-9, 9, step)
    weight = step * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    expected = np.empty((2, 3, 3, 5))
    for i, a in enumerate(np.sqrt(q)):
        u = np.tanh(a * z)
        for j, b in enumerate(np.sqrt(q)):
            own = np.sqrt(weight @ u**2 * (weight @ np.tanh(b * z) ** 2))
            for k, gap in enumerate(gaps):
                v = np.tanh(b * ((1 - gap) * z[:, None] + math.sqrt(gap * (2 - gap)) * z))
                expected[0, i, j, k] = 1 - (weight * u) @ v @ weight / own
                expected[1, i, j, k] = (weight * (1 - u**2)) @ (1 - v**2) @ weight
    q = jnp.asarray(q)
    found = pairs(SmoothDual(jnp.tanh), q[:, None, None], q[None, :, None], jnp.asarray(gaps))
    np.testing.assert_allclose(found.gap, expected[0], atol=1e-12)
    np.testing.assert_allclose(found.derivative, expected[1], rtol=1e-12)


VARIANCES = jnp.asarray([0.01, 0.7, 4.0, 100.0])
GAPS = jnp.asarray([0.0, 1e-24, 1e-12, 1e-4, 0.1, 1.0, 1.7, 2.0])


@pytest.mark.parametrize(
    ("closed", "quadrature", "tolerance"),
    [
        (GELU(), SmoothDual(GELU_OF), 2e-12),
        (Sine(0.4, 1.0), SmoothDual(lambda z: jnp.sin(0.4 * z + 1.0)), 2e-12),
        (LeakyReLU(0.1), KinkedDual(lambda z: jnp.where(z > 0, z, 0.1 * z), (0.0,)), 2e-14),
    ],
    ids=["gelu", "sine", "leaky"],
)
def test_quadrature_gives_the_closed_forms(
    closed: AbstractDualActivation, quadrature: AbstractDualActivation, tolerance: float
) -> None:
    grid = VARIANCES[:, None, None], VARIANCES[None, :, None], GAPS
    found, exact = pairs(quadrature, *grid), pairs(closed, *grid)
    np.testing.assert_allclose(np.sqrt(found.gap), np.sqrt(exact.gap), atol=tolerance)
    own = np.sqrt(np.einsum("iik->ik", exact.derivative)[:, 0])
    assert np.max(np.abs(found.derivative - exact.derivative) / (own[:, None] * own)[..., None]) < tolerance
    np.testing.assert_allclose(quadrature.second_moment(VARIANCES), closed.second_moment(VARIANCES), rtol=1e-13)


@pytest.mark.parametrize(
    "dual", [LeakyReLU(0.3), Step(), Erf(), GELU(), Sine(2.0, 0.3), SmoothDual(jnp.tanh), KinkedDual(elu, (0.0,))]
)
def test_equal_pre_activations_have_gap_zero_and_far_ones_stay_inside(dual: AbstractDualActivation) -> None:
    found = pairs(dual, VARIANCES[:, None], VARIANCES[:, None], GAPS)
    assert not np.any(found.gap[:, 0])
    assert np.all((np.asarray(found.gap) >= 0) & (np.asarray(found.gap) <= 2))
    beyond = pairs(dual, VARIANCES[:, None], VARIANCES[:, None], jnp.asarray([-1e-9] * 4 + [2 + 1e-9] * 4))
    np.testing.assert_array_equal(beyond.gap[:, 0], found.gap[:, 0])
    np.testing.assert_array_equal(beyond.derivative[:, -1], found.derivative[:, -1])


def gelu_slope(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2))) + z * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


MONTE_CARLO: dict[str, tuple[AbstractDualActivation, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "leaky": (LeakyReLU(0.2), lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1, 0.2)),
    "gelu": (GELU(), lambda z: np.asarray(GELU_OF(jnp.asarray(z))), lambda z: np.vectorize(gelu_slope)(z)),
    "sine": (Sine(1.2, 0.5), lambda z: np.sin(1.2 * z + 0.5), lambda z: 1.2 * np.cos(1.2 * z + 0.5)),
    "tanh": (SmoothDual(jnp.tanh), np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "sigmoid": (SmoothDual(jax.nn.sigmoid), lambda z: 1 / (1 + np.exp(-z)), lambda z: 1 / (2 + 2 * np.cosh(z))),
    "softplus": (SmoothDual(jax.nn.softplus), lambda z: np.logaddexp(0, z), lambda z: 1 / (1 + np.exp(-z))),
    "elu": (
        KinkedDual(elu, (0.0,)),
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.exp(np.minimum(z, 0)),
    ),
    "hard tanh": (
        KinkedDual(hard_tanh, (-1.0, 0.7)),
        lambda z: np.clip(z, -1, 0.7),
        lambda z: 1.0 * (z > -1) * (z < 0.7),
    ),
}


@pytest.mark.parametrize("name", MONTE_CARLO)
def test_against_random_numbers(name: str) -> None:
    dual, function, slope = MONTE_CARLO[name]
    generator = np.random.default_rng(1)
    q_u, q_v, gap = 1.3, 0.6, 0.35
    z, w = generator.standard_normal((2, 40_000))
    u, v = np.sqrt(q_u) * z, np.sqrt(q_v) * ((1 - gap) * z + np.sqrt(gap * (2 - gap)) * w)
    found = pairs(dual, jnp.asarray(q_u), jnp.asarray(q_v), jnp.asarray(gap))
    moments = [float(dual.second_moment(jnp.asarray(q))) for q in (q_u, q_v)]
    for draws, value in (
        (function(u) ** 2, moments[0]),
        (function(u) * function(v), math.sqrt(moments[0] * moments[1]) * (1 - float(found.gap))),
        (slope(u) * slope(v), float(found.derivative)),
    ):
        assert abs(np.mean(draws) - value) < 4 * np.std(draws) / math.sqrt(len(draws))


def test_the_error_estimate_covers_the_error_and_sees_a_kink() -> None:
    estimate = eqx.filter_jit(lambda dual, q: dual.error_estimate(q))
    assert np.max(estimate(SmoothDual(jnp.tanh), VARIANCES)) < 1e-12
    few = SmoothDual(jnp.tanh, nodes=64, terms=64)
    error = np.abs(np.asarray(few.second_moment(VARIANCES) / SmoothDual(jnp.tanh).second_moment(VARIANCES)) - 1)
    assert error[-1] > 1e-5
    assert np.all(estimate(few, VARIANCES) >= error / 2)
    # ReLU without its kink named: the coefficients fall like a power, and the estimate says that they do.
    assert np.min(estimate(SmoothDual(jax.nn.relu, terms=512), VARIANCES)) > 1e-3
    assert np.max(estimate(KinkedDual(hard_tanh, (-1.0, 0.7)), VARIANCES)) < 1e-10
    coarse = KinkedDual(elu, (0.0,), order=16)
    grid = VARIANCES[:, None], VARIANCES[:, None], GAPS
    off = np.max(np.abs(pairs(coarse, *grid).gap - pairs(KinkedDual(elu, (0.0,)), *grid).gap), axis=1)
    assert np.all(np.asarray(estimate(coarse, VARIANCES)) > off)


@pytest.mark.parametrize("power", [lambda z: jnp.exp(z**2), lambda z: jnp.exp(z**2 / 4), lambda z: 1 / (0 * z)])
def test_an_activation_without_moments_is_refused(power: Callable[[jax.Array], jax.Array]) -> None:
    with pytest.raises(ValueError, match="no finite second moment under a Gaussian"):
        SmoothDual(power)
    with pytest.raises(ValueError, match="no finite second moment under a Gaussian"):
        KinkedDual(power, (0.0,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmoothDual(jnp.sum), "applied number by number"),
        (lambda: SmoothDual(jnp.tanh, nodes=4), "nodes and terms must be at least 16"),
        (lambda: KinkedDual(jnp.abs, ()), "kinks must be finite places"),
        (lambda: KinkedDual(jnp.abs, (math.inf,)), "kinks must be finite places"),
        (lambda: KinkedDual(jnp.abs, (0.0,), order=4), "order must be at least 8"),
        (lambda: Erf(0.0), "scale must be positive"),
        (lambda: Sine(-1.0), "positive frequency"),
        (lambda: Step(0.0, 0.0), "two finite values"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_single_precision_stays_single() -> None:
    q, gap = jnp.asarray([0.5, 2.0], jnp.float32), jnp.asarray([0.1, 1.2], jnp.float32)
    for dual in (LeakyReLU(), GELU(), SmoothDual(jnp.tanh), KinkedDual(elu, (0.0,))):
        found = pairs(dual, q, q, gap)
        exact = pairs(dual, q.astype(jnp.float64), q.astype(jnp.float64), gap.astype(jnp.float64))
        assert found.gap.dtype == found.derivative.dtype == dual.second_moment(q).dtype == jnp.float32
        np.testing.assert_allclose(found.gap, exact.gap, atol=2e-6)
        np.testing.assert_allclose(found.derivative, exact.derivative, atol=2e-6)
