"""The edge of chaos: the σ_w² at which χ₁ = 1, at infinite depth or over the layers of a network."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntkflow.initialization.depth_profile import require_accurate
from ntkflow.initialization.mean_field import MeanField, within
from ntkflow.initialization.phases import chi_at_limit
from ntkflow.initialization.variance_limit import end_ratios, moment_ratios, variance_limit
from ntkflow.kernels.infinite import AbstractDualActivation, AbstractQuadratureDual

_FIRST, _LAST = 2.0**-6, 2.0**12
_BISECTIONS = 52


def edge_of_chaos(
    activation: AbstractDualActivation, sigma_b: float | Float[Array, "*shape"], *, start: float = 1.0
) -> Float[Array, "*shape"]:
    """σ_w² with χ₁(q*) = 1, q* the limit of the variance with depth, for every σ_b; NaN if none is below 4 096.

    σ_w² is doubled from 1/64 until χ₁ > 1, then bisected to rounding: the lowest change of sign that the doubling does
    not step over. Where q* jumps (GELU without biases, at 2.35 from q = 1) it is the place of the jump. Paper 1 draws
    its dashed lines where χ₁^ℓ = 1 "in all layers", which holds for q^ℓ = q* alone: this is that line;
    :func:`edge_at_depth` is the one of a network whose variances have not settled. Without biases and with a smooth
    odd activation χ₁ − 1 is of second order in σ_w² − 1, and rounding leaves 10⁻⁷; elsewhere 10⁻¹² (tests).

    Args:
        activation: the dual of φ.
        sigma_b: σ_b ≥ 0.
        start: the variance of pre-activations from which q* is approached.

    Raises:
        ValueError: a σ_b below 0 or not finite, a start that is not positive, an activation whose quadrature is off.
    """
    biases = _biases(sigma_b)
    if not 0 < start < math.inf:
        raise ValueError(f"start must be positive, not {start:g}")
    bias = biases**2

    ends, ratios = end_ratios(activation), moment_ratios(activation)

    def excess(weight: Array) -> Array:
        return (
            chi_at_limit(activation, weight, variance_limit(activation, weight, bias, start, ratios=ratios), ends) - 1
        )

    edge = _first_crossing(excess, bias)
    if isinstance(activation, AbstractQuadratureDual):
        limits = variance_limit(activation, edge, bias, start)
        inside = limits[(limits > 0) & jnp.isfinite(limits)]
        if inside.size:
            require_accurate(activation, jnp.stack([inside.min(), inside.max()]))
    return edge


def edge_at_depth(
    activation: AbstractDualActivation,
    sigma_b: float | Float[Array, "*shape"],
    depth: int,
    *,
    moment: float = 1.0,
) -> Float[Array, "*shape"]:
    """σ_w² with Π_ℓ χ₁^ℓ = 1 over the hidden layers of a network of this depth: gradients keep their size on the whole.

    Args:
        activation: the dual of φ.
        sigma_b: σ_b ≥ 0.
        depth: L ≥ 2.
        moment: ‖x‖²/M₀ of the input.

    Raises:
        ValueError: a depth without hidden layers, a σ_b below 0 or not finite.
    """
    if depth < 2:
        raise ValueError(f"a network of depth {depth} has no hidden layer, and no edge of chaos")
    biases = _biases(sigma_b)

    flat, entering = biases.ravel(), jnp.log(jnp.asarray(moment, biases.dtype))
    found = _first_crossing(lambda weight: _log_gradient(activation, depth, entering, weight, flat), flat)
    return found.reshape(biases.shape)


@eqx.filter_jit
def _log_gradient(
    activation: AbstractDualActivation, depth: int, log_moment: Array, weight: Array, sigma_b: Array
) -> Array:
    """Σ_ℓ ln χ₁^ℓ over the hidden layers, for every pair of σ_w² and σ_b."""

    @eqx.filter_vmap
    def total(weight: Array, sigma_b: Array) -> Array:
        network = MeanField(activation, jnp.sqrt(weight), sigma_b)

        def hidden(log_variance: Array, _: None) -> tuple[Array, Array]:
            log_chi = jnp.log(network.chi_1(jnp.exp(within(log_variance))))
            return network.log_variance_map(log_variance), log_chi

        return jnp.sum(lax.scan(hidden, network.affine(log_moment), None, length=depth - 1)[1])

    return total(weight, sigma_b)


def _biases(sigma_b: float | Array) -> Array:
    biases = jnp.asarray(sigma_b, jnp.result_type(float))
    if not bool(jnp.all((biases >= 0) & jnp.isfinite(biases))):
        raise ValueError("sigma_b must be finite and not negative")
    return biases


def _first_crossing(excess: Callable[[Array], Array], like: Array) -> Array:
    """The place on the axis of σ_w² where ``excess`` becomes positive, for all at once."""
    low, high = jnp.full_like(like, _FIRST / 2), jnp.full_like(like, _FIRST)
    for _ in range(round(math.log2(_LAST / _FIRST))):
        below = excess(high) <= 0
        low, high = jnp.where(below, high, low), jnp.where(below, 2 * high, high)
    crossed = excess(high) > 0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = excess(middle) <= 0
        low, high = jnp.where(below, middle, low), jnp.where(below, high, middle)
    return jnp.where(crossed, (low + high) / 2, jnp.nan)
