"""Mean-field theory of random fully connected networks: what one layer makes of variances and correlations."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from ntkflow.kernels.infinite import AbstractDualActivation, PairMoments
from ntkflow.kernels.infinite.input_gap import gap_with_bias

_SMALLEST, _LARGEST = 1e-60, 1e60
"""Variances at which an activation is still asked for its moments; beyond, it is taken for linear on either side of 0.

What is wrong with that is of the size of the rounding of 1 for activations that are smooth at 0 or linear there, and
that grow linearly or are bounded.
"""


class PairStep(NamedTuple):
    """What a hidden layer and the affine map behind it make of a pair, in the shape of the pairs.

    Attributes:
        gap: 1 − c of the next pre-activations (7).
        activation_gap: 1 − q̂_sr/√(q̂_s q̂_r) of the activations between.
        chi: σ_w² E[φ'(u)φ'(v)], which p_sr is multiplied by on its way back (9).
    """

    gap: Float[Array, "*shape"]
    activation_gap: Float[Array, "*shape"]
    chi: Float[Array, "*shape"]


def _scalar(value: ArrayLike) -> Array:
    return jnp.asarray(value, jnp.result_type(float))


@final
class MeanField(eqx.Module):
    """Networks h^ℓ = W^ℓ x^{ℓ−1} + b^ℓ, x^ℓ = φ(h^ℓ), W^ℓ ~ N(0, σ_w²/M_{ℓ−1}), b^ℓ ~ N(0, σ_b²) of infinite width.

    The pre-activations of a layer at inputs s and r are Gaussian, with variances q_s, q_r and the correlation c:

    q' = σ_w² E[φ(u)²] + σ_b² (paper 1, (5)), q'_sr = σ_w² E[φ(u)φ(v)] + σ_b² (7), χ = σ_w² E[φ'(u)φ'(v)] (9), and
    χ₁ is χ of an input with itself. The gap 1 − c is carried in place of c, so that inputs close to each other keep
    their digits. Thesis (2.30) has the second moments of activations, q̂, under the name q.

    Numbers of one layer are given as they are; :func:`depth_profile` goes through many, in logarithms.

    Args:
        activation: the dual of φ.
        sigma_w: σ_w > 0.
        sigma_b: σ_b ≥ 0.

    Raises:
        ValueError: σ_w or σ_b outside these ranges.
    """

    activation: AbstractDualActivation
    sigma_w: Float[Array, ""] = eqx.field(converter=_scalar)
    sigma_b: Float[Array, ""] = eqx.field(converter=_scalar, default=0.0)

    def __check_init__(self) -> None:
        if isinstance(self.sigma_w, Tracer) or isinstance(self.sigma_b, Tracer):
            return
        if not 0 < float(self.sigma_w) < math.inf or not 0 <= float(self.sigma_b) < math.inf:
            raise ValueError(
                f"sigma_w must be positive and sigma_b not negative, not {float(self.sigma_w):g} and "
                f"{float(self.sigma_b):g}: with sigma_w = 0 a network is the constant of its last bias"
            )

    def variance_map(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """q' of q (5); overflows with q, which :meth:`log_variance_map` does not."""
        return jnp.exp(self.log_variance_map(jnp.log(variance)))

    def log_second_moment(self, log_variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """ln q̂ = ln E[φ(u)²] of ln q (6)."""
        inside = within(log_variance)
        return jnp.log(self.activation.second_moment(jnp.exp(inside))) + (log_variance - inside)

    def log_variance_map(self, log_variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """ln q' of ln q (5), for any number: q itself may be beyond the range of floating-point numbers."""
        return self.affine(self.log_second_moment(log_variance))

    def affine(self, log_moment: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """ln(σ_w² q̂ + σ_b²) of ln q̂: the variance of pre-activations, of the first layer with q̂⁰ = ‖x‖²/M₀."""
        return jnp.logaddexp(2 * jnp.log(self.sigma_w) + log_moment, 2 * jnp.log(self.sigma_b))

    def affine_gap(
        self, gap: Float[Array, "*#shape"], log_moment_u: Float[Array, "*#shape"], log_moment_v: Float[Array, "*#shape"]
    ) -> Float[Array, "*shape"]:
        """1 − c of pre-activations from the gap and the second moments of what enters the layer."""
        # The gap depends on ratios of variances only.
        scale = jnp.maximum(self.affine(log_moment_u), self.affine(log_moment_v))
        weight = 2 * jnp.log(self.sigma_w)
        of_u, of_v = (jnp.exp(weight + moment - scale) for moment in (log_moment_u, log_moment_v))
        return gap_with_bias(gap, of_u, of_v, jnp.exp(2 * jnp.log(self.sigma_b) - scale))

    def pair_map(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairStep:
        """c' and χ of a pair with variances q_u, q_v and correlation 1 − gap ((7), (9))."""
        return self.log_pair_map(jnp.log(variance_u), jnp.log(variance_v), gap)

    def log_pair_map(
        self,
        log_variance_u: Float[Array, "*#shape"],
        log_variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairStep:
        """The same of ln q_u and ln q_v."""
        moments = _pair(self.activation, jnp.exp(within(log_variance_u)), jnp.exp(within(log_variance_v)), gap)
        after = self.affine_gap(
            moments.gap, self.log_second_moment(log_variance_u), self.log_second_moment(log_variance_v)
        )
        return PairStep(after, moments.gap, self.sigma_w**2 * moments.derivative)

    def chi_1(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """χ₁ = σ_w² E[φ'(u)²] at the variance q: what p is multiplied by from a layer to the one before (8)."""
        inside = jnp.exp(within(jnp.log(variance)))
        return self.sigma_w**2 * _pair(self.activation, inside, inside, jnp.zeros_like(inside)).derivative

    def variance_slope(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """dq'/dq = χ₁ + σ_w² E[φφ''], by automatic differentiation of E[φ²]."""
        inside = jnp.exp(within(jnp.log(variance)))
        return self.sigma_w**2 * _moment_slope(self.activation, inside)


# Compiled here, since the loop of a quadrature that is called as it is would be compiled at every call.
@eqx.filter_jit
def _pair(activation: AbstractDualActivation, variance_u: Array, variance_v: Array, gap: Array) -> PairMoments:
    return activation.pair(variance_u, variance_v, gap)


@eqx.filter_jit
def _moment_slope(activation: AbstractDualActivation, variance: Array) -> Array:
    return jax.jvp(activation.second_moment, (variance,), (jnp.ones_like(variance),))[1]


def within(log_variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The nearest logarithm at which activations are asked for their moments."""
    return jnp.clip(log_variance, math.log(_SMALLEST), math.log(_LARGEST))
