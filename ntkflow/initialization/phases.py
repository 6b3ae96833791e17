"""Phases of an initialisation: what becomes of variances, correlations and gradients at great depth."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntkflow.initialization.depth_profile import require_accurate
from ntkflow.initialization.mean_field import MeanField
from ntkflow.initialization.variance_limit import (
    LARGEST,
    SMALLEST,
    VarianceFixedPoint,
    end_ratios,
    variance_fixed_points,
    variance_limit,
)
from ntkflow.kernels.infinite import AbstractDualActivation, AbstractQuadratureDual

Phase = Literal["ordered", "edge", "chaotic"]
"""χ₁ < 1, = 1, > 1 at the limit of the variance (thesis (2.33))."""

EDGE_TOLERANCE = 1e-6
"""How near χ₁ has to be to 1 for the edge of chaos, unless told."""

TRAINABLE_LENGTHS = 6.0
"""Correlation lengths within which networks were found to be trainable (Schoenholz et al. 2017): an observation."""

_SMALLEST_GAP = 1e-12
_BISECTIONS = 80
# χ₁ − 1 below it is rounding, and so is a gap 1 − c* of that size.
_NO_DIFFERENCE = 1e-9


@dataclasses.dataclass(frozen=True)
class DeepLimit:
    """What a network of infinite width tends to with depth.

    Attributes:
        phase: ordered, edge or chaotic, by ``chi_1``.
        variance: q* = lim q^ℓ; 0 and ∞ are possible.
        chi_1: χ₁ at q*: what the variance of gradients is multiplied by, layer by layer.
        variance_slope: dq'/dq at q*; NaN where q* is 0 or ∞ or every variance is left as it is.
        gap: 1 − c*, of the correlation that pairs with c ≥ 0 tend to; NaN where a layer leaves every c as it is.
        correlation_slope: dc'/dc at c*.
        variance_length: ξ_q = −1/ln|dq'/dq|, layers over which q − q* falls by e; ∞ at slope 1, NaN if there is none.
        correlation_length: ξ_c = −1/ln|dc'/dc|, layers over which c − c* falls by e; ∞ where it falls like a power.
        gradient_length: 1/|ln χ₁|, layers over which the variance of gradients changes by e.
        trainability_depth: 6 ξ_c (Schoenholz et al. 2017, seen with tanh networks); where q* is 0 or ∞, or c* is
            NaN, there is no ξ_c in their sense, and it is 6 gradient lengths, by analogy.
        fixed_points: all fixed points of the variance, of which the limit is one.
    """

    phase: Phase
    variance: float
    chi_1: float
    variance_slope: float
    gap: float
    correlation_slope: float
    variance_length: float
    correlation_length: float
    gradient_length: float
    trainability_depth: float
    fixed_points: tuple[VarianceFixedPoint, ...]

    @property
    def correlation(self) -> float:
        """c*."""
        return 1 - self.gap


def deep_limit(mean_field: MeanField, *, start: float = 1.0, tolerance: float = EDGE_TOLERANCE) -> DeepLimit:
    """The phase of an initialisation, with its fixed points and depth scales.

    c' as a function of c has a power series with positive coefficients where q is at its fixed point (Mehler's
    formula), so it is convex for c ≥ 0: there is at most one fixed point in [0, 1). It exists and attracts if χ₁ > 1;
    else every pair with c ≥ 0 tends to c* = 1.

    Args:
        mean_field: the network.
        start: a variance of pre-activations, from which the limit q* is approached; matters if there are several.
        tolerance: how near χ₁ has to be to 1 for the edge of chaos.

    Raises:
        ValueError: a start or tolerance that is not positive, or an activation whose quadrature is off at q*.
    """
    if not (0 < start < math.inf and 0 < tolerance < 1):
        raise ValueError(f"start must be positive and tolerance between 0 and 1, not {start:g} and {tolerance:g}")
    dual = mean_field.activation
    weight, bias = mean_field.sigma_w**2, mean_field.sigma_b**2
    variance = float(variance_limit(dual, weight, bias, start))
    inside = 0 < variance < math.inf
    if inside and isinstance(dual, AbstractQuadratureDual):
        require_accurate(dual, jnp.asarray([variance]))
    chi = float(chi_at_limit(dual, weight, jnp.asarray(variance)))
    at = jnp.asarray(variance if inside else (SMALLEST if variance == 0 else LARGEST))
    slope = float(mean_field.variance_slope(at)) if inside else math.nan
    gap, correlation_slope = _correlation_limit(mean_field, at, chi, inside=inside)
    gradient_length = _length(chi, grows=True)
    correlation_length = _length(correlation_slope)
    scale = correlation_length if inside and not math.isnan(correlation_length) else gradient_length
    return DeepLimit(
        phase="edge" if abs(chi - 1) <= tolerance else "ordered" if chi < 1 else "chaotic",
        variance=variance,
        chi_1=chi,
        variance_slope=slope,
        gap=gap,
        correlation_slope=correlation_slope,
        variance_length=_length(slope),
        correlation_length=correlation_length,
        gradient_length=gradient_length,
        trainability_depth=TRAINABLE_LENGTHS * scale,
        fixed_points=variance_fixed_points(mean_field),
    )


def chi_at_limit(
    activation: AbstractDualActivation,
    weight_variance: Float[Array, "*#shape"],
    variance: Float[Array, "*#shape"],
    ends: Float[Array, "2"] | None = None,
) -> Float[Array, "*shape"]:
    """χ₁ = σ_w² E[φ'²] at limits q* of the variance, 0 and ∞ among them; ``ends``: of :func:`end_ratios`, if known."""
    of_ends = end_ratios(activation) if ends is None else ends
    weight, limit = jnp.broadcast_arrays(weight_variance, variance)
    return _chi(activation, weight, limit, of_ends)


@eqx.filter_jit
def _chi(activation: AbstractDualActivation, weight: Array, variance: Array, ends: Array) -> Array:
    inside = (variance > 0) & jnp.isfinite(variance)
    # Not asked for moments where they are not used: a quadrature would take longest there.
    safe = jnp.where(inside, variance, 1.0)
    slope = activation.pair(safe, safe, jnp.zeros_like(safe)).derivative
    return weight * jnp.where(inside, slope, jnp.where(variance > 0, ends[1], ends[0]))


def _length(slope: float, *, grows: bool = False) -> float:
    """The depth over which |slope|^depth changes by e."""
    size = abs(slope)
    if math.isnan(size):
        return math.nan
    if size in (0.0, math.inf):
        return 0.0
    log = math.log(size)
    if abs(log) < _NO_DIFFERENCE:
        return math.inf
    return abs(1 / log) if grows or log < 0 else math.nan


def _correlation_limit(mean_field: MeanField, variance: Array, chi: float, *, inside: bool) -> tuple[float, float]:
    """1 − c* and the slope of c' at c*."""
    dual = mean_field.activation
    # Else φ is linear on either side of 0 at this scale, and c' does not depend on the variance, nor on biases.
    alone = not inside
    if alone and isinstance(dual, AbstractQuadratureDual) and float(variance) > 1:
        return math.nan, math.nan
    step = mean_field.pair_map(variance, variance, jnp.asarray(0.5))
    moved = float(step.activation_gap if alone else step.gap)
    if (abs(moved - 0.5) <= 1e-12 and abs(chi - 1) <= 1e-9) or (alone and abs(moved - 0.5) <= 1e-9):
        return math.nan, math.nan
    if alone or chi <= 1 + _NO_DIFFERENCE:
        return 0.0, 1.0 if alone else chi
    gap = _bisected_gap(mean_field, variance)
    return float(gap), float(mean_field.pair_map(variance, variance, gap).chi)


@eqx.filter_jit
def _bisected_gap(mean_field: MeanField, variance: Array) -> Array:
    """The fixed point of 1 − c' between 0, which repels, and 1."""

    def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = jnp.exp((jnp.log(low) + jnp.log(high)) / 2)
        below = mean_field.pair_map(variance, variance, middle).gap > middle
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = lax.fori_loop(0, _BISECTIONS, halve, (jnp.asarray(_SMALLEST_GAP), jnp.asarray(1.0)))
    return (low + high) / 2
