"""Where variances go with depth: the fixed points of q' = σ_w² E[φ²] + σ_b², by signs on a grid, then bisected."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ntkflow.initialization.mean_field import MeanField
from ntkflow.kernels.infinite import AbstractDualActivation

SMALLEST, LARGEST = 1e-30, 1e12
"""Fixed points are looked for in this range; what leaves it goes to 0 or to ∞."""
_POINTS = 2401
# A hundred roundings: below it q' and q are the same number for this purpose.
_STILL = 1e-14
_BISECTIONS = 60


class VarianceFixedPoint(NamedTuple):
    """A variance that a layer leaves as it is.

    Attributes:
        variance: q*.
        slope: dq'/dq there, χ₁ + σ_w² E[φφ''].
        stable: whether variances near it come nearer, from both sides.
    """

    variance: float
    slope: float
    stable: bool


def variance_fixed_points(mean_field: MeanField) -> tuple[VarianceFixedPoint, ...]:
    """Fixed points of the variance between 10⁻³⁰ and 10¹², in rising order; () if there are none, or every q is one.

    ReLU has one, σ_b²/(1 − σ_w²/2), for σ_b > 0 and σ_w² < 2; none for σ_b > 0 and σ_w² ≥ 2, nor for σ_b = 0, but for
    σ_w² = 2, where a layer leaves every variance as it is. Two that are nearer to each other than 4 % may be missed,
    and so are points where q' touches q without crossing.
    """
    logs = _grid()
    ratios = moment_ratios(mean_field.activation)
    values = np.asarray(_excesses(ratios, mean_field.sigma_w**2, mean_field.sigma_b**2))
    signs = np.where(np.abs(values) <= _STILL, 0, np.sign(values))
    decided = np.flatnonzero(signs)
    found = []
    for before, after in itertools.pairwise(decided):
        if signs[before] == signs[after]:
            continue
        stable = bool(signs[before] > 0)
        root = _bisected(mean_field, logs[before], logs[after], jnp.asarray(stable))
        variance = jnp.exp(root)
        found.append(VarianceFixedPoint(float(variance), float(mean_field.variance_slope(variance)), stable))
    return tuple(found)


def variance_limit(
    activation: AbstractDualActivation,
    weight_variance: Float[Array, "*#shape"],
    bias_variance: Float[Array, "*#shape"],
    start: float = 1.0,
    *,
    ratios: Float[Array, " points"] | None = None,
) -> Float[Array, "*shape"]:
    """lim q^ℓ for ℓ → ∞ from the variance ``start`` of pre-activations, for every (σ_w², σ_b²); 0 and ∞ are answers.

    The map rises with q where E[φ²] does, so that the limit is the first fixed point in the direction of the first
    step. Where no step is taken, it is ``start``. Activations whose E[φ²] falls with q somewhere, such as sin, may
    step over a fixed point; from them this is the fixed point nearest in that direction. ``ratios``: those of
    :func:`moment_ratios`, if known.
    """
    weight, bias = jnp.broadcast_arrays(weight_variance, bias_variance)
    table = moment_ratios(activation) if ratios is None else ratios
    first = jnp.asarray(start, weight.dtype)
    return _limits(activation, table, weight.ravel(), bias.ravel(), first).reshape(weight.shape)


@eqx.filter_jit
def end_ratios(activation: AbstractDualActivation) -> Float[Array, "2"]:
    """E[φ(u)²]/q at both ends of the range of q; E[φ'(u)²] there, since φ is linear on either side of 0 at such scales.

    The second is ∞ where φ grows faster than linearly.
    """
    variances = jnp.asarray([SMALLEST, LARGEST, LARGEST / 10])
    low, high, before = activation.second_moment(variances) / variances
    return jnp.stack([low, jnp.where(high > 1.01 * before, jnp.inf, high)])


def _grid() -> Float[Array, " points"]:
    return jnp.linspace(jnp.log(SMALLEST), jnp.log(LARGEST), _POINTS)


@eqx.filter_jit
def moment_ratios(activation: AbstractDualActivation) -> Float[Array, " points"]:
    """E[φ(u)²]/q at the variances where signs are looked at: all that limits need of an activation at first."""
    variances = jnp.exp(_grid())
    return activation.second_moment(variances) / variances


def _excesses(ratios: Array, weight: Array, bias: Array) -> Array:
    """q'/q − 1 on the grid of ln q, along the last axis."""
    return weight[..., None] * ratios + bias[..., None] / jnp.exp(_grid()) - 1


def _excess(activation: AbstractDualActivation, weight: Array, bias: Array, log_variance: Array) -> Array:
    variance = jnp.exp(log_variance)
    return (weight * activation.second_moment(variance) + bias) / variance - 1


def _bisect(
    activation: AbstractDualActivation, weight: Array, bias: Array, low: Array, high: Array, up: Array
) -> Array:
    """The root of q'/q − 1 in ln q; ``up``: whether it is positive at the lower end."""

    def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        below = (_excess(activation, weight, bias, middle) > 0) == up
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    return (low + high) / 2


@eqx.filter_jit
def _bisected(mean_field: MeanField, low: Array, high: Array, up: Array) -> Array:
    return _bisect(mean_field.activation, mean_field.sigma_w**2, mean_field.sigma_b**2, low, high, up)


@eqx.filter_jit
def _limits(activation: AbstractDualActivation, ratios: Array, weight: Array, bias: Array, start: Array) -> Array:
    excess, logs = _excesses(ratios, weight, bias), _grid()
    at = jnp.clip(jnp.searchsorted(logs, jnp.log(start)).astype(jnp.int32), 1, _POINTS - 2)
    first = _excess(activation, weight, bias, jnp.broadcast_to(jnp.log(start), weight.shape))
    place = jnp.arange(_POINTS, dtype=jnp.int32)
    falls, rises = (excess < -_STILL) & (place >= at), (excess > _STILL) & (place < at)
    above = jnp.argmax(falls, axis=-1).astype(jnp.int32)
    below = _POINTS - 1 - jnp.argmax(rises[..., ::-1], axis=-1).astype(jnp.int32)
    upward = first > 0
    found = jnp.where(upward, jnp.any(falls, axis=-1), jnp.any(rises, axis=-1))
    low = jnp.where(upward, jnp.where(above == at, jnp.log(start), logs[above - 1]), logs[below])
    high = jnp.where(upward, logs[above], jnp.where(below == at - 1, jnp.log(start), logs[below + 1]))
    root = jnp.exp(_bisect(activation, weight, bias, low, high, jnp.ones_like(upward)))
    limit = jnp.where(found, root, jnp.where(upward, jnp.inf, 0.0))
    return jnp.where(jnp.abs(first) <= _STILL, start, limit)
