"""The dual of GELU in closed form."""

from __future__ import annotations

import math
from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.arcsine import arcsine_excess, own_arcsine
from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation, PairMoments, full_gap, gap_of_excesses

_TURN = 2 * math.pi


@final
class GELU(AbstractDualActivation):
    """φ(z) = z Φ(z), Φ the normal distribution function: GELU as defined, not its approximation by tanh.

    Integrating by parts twice, with n the normal density, D = (1+q_u)(1+q_v) − c², T = E[Φ(u)Φ(v)] =
    ¼ + asin(c/√((1+q_u)(1+q_v)))/(2π), E[n(u)n(v)] = 1/(2π√D), and w = 1/(1+q):

    E[φ(u)φ(v)] = c T + [q_u q_v − c² (1 − w_u − w_v)]/(2π√D),
    E[φ'(u)φ'(v)] = T + c [w_u + w_v + 1/D]/(2π√D).
    """

    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """q T + 2q²/(1+q)/(2π√(1+2q)) with T = ¼ + asin(q/(1+q))/(2π)."""
        own = 0.25 + own_arcsine(variance) / _TURN
        return variance * own + 2 * variance**2 / (1 + variance) / (_TURN * jnp.sqrt(1 + 2 * variance))

    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        """Both moments of pairs; the excesses of the second moments term by term, so that nothing cancels."""
        gap = full_gap(variance_u, variance_v, gap)
        apart = gap * (2 - gap)
        excess = arcsine_excess(variance_u, variance_v, gap)
        root = excess.root_determinant
        size = jnp.sqrt(variance_u) * jnp.sqrt(variance_v)
        covariance = (1 - gap) * size
        w_u, w_v = 1 / (1 + variance_u), 1 / (1 + variance_v)
        bracket = variance_u * variance_v * apart + covariance**2 * (w_u + w_v)

        def of(own: Float[Array, "*#shape"], other: Float[Array, "*#shape"], angle: Array) -> Float[Array, "*shape"]:
            """E[φ(own)²] − E[φ(u)φ(v)], with B/(2π√D) for the second term of either."""
            lift = own * other * apart
            own_root = jnp.sqrt(1 + 2 * own)
            distribution = 0.25 + own_arcsine(own) / _TURN
            # q − c, B_own − B and 1/√D_own − 1/√D.
            linear = jnp.sqrt(own) * ((own - other) / (jnp.sqrt(own) + jnp.sqrt(other))) + size * gap
            brackets = (own * (own - other) + lift) * (w_u + w_v) + own**2 * (other - own) * (w_u * w_v) - lift
            roots = ((other - own) + lift) / (own_root * root * (own_root + root))
            return linear * distribution + (covariance * angle + brackets / own_root + bracket * roots) / _TURN

        moments = self.second_moment(variance_u), self.second_moment(variance_v)
        distribution = 0.25 + (own_arcsine(variance_u) - excess.u) / _TURN
        return PairMoments(
            gap_of_excesses(*moments, of(variance_u, variance_v, excess.u), of(variance_v, variance_u, excess.v)),
            distribution + covariance * (w_u + w_v + 1 / root**2) / (_TURN * root),
        )
