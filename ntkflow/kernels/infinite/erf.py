"""The dual of the error function in closed form: the arcsine kernel."""

from __future__ import annotations

import math
from typing import final

import equinox as eqx
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.arcsine import arcsine_excess, own_arcsine
from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation, PairMoments, full_gap, gap_of_excesses


@final
class Erf(AbstractDualActivation):
    """φ(z) = erf(s z).

    With p = 2s²q and the covariance c: E[φ(u)φ(v)] = (2/π) asin(2s²c/√((1+p_u)(1+p_v))) (Williams 1997) and
    E[φ'(u)φ'(v)] = (4s²/π)/√((1+p_u)(1+p_v) − (2s²c)²).

    Args:
        scale: s > 0. √π/2 gives slope 1 at 0.

    Raises:
        ValueError: a scale that is not positive.
    """

    scale: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be positive, not {self.scale}")

    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(2/π) asin(p/(1+p))."""
        return (2 / math.pi) * own_arcsine(2 * self.scale**2 * variance)

    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        """Both moments of pairs."""
        p_u, p_v = 2 * self.scale**2 * variance_u, 2 * self.scale**2 * variance_v
        excess = arcsine_excess(p_u, p_v, full_gap(variance_u, variance_v, gap))
        return PairMoments(
            gap_of_excesses(own_arcsine(p_u), own_arcsine(p_v), excess.u, excess.v),
            (4 * self.scale**2 / math.pi) / excess.root_determinant,
        )
