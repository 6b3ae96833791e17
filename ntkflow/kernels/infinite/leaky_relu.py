"""The dual of ReLU and its relatives in closed form: arc-cosine kernels of order 0 and 1."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.arc_cosine import arc_cosine
from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation, PairMoments, full_gap


@final
class LeakyReLU(AbstractDualActivation):
    """φ(z) = max(z, 0) + a·min(z, 0): ReLU for slope a = 0, linear for 1, |z| for −1.

    With θ the angle whose cosine is the correlation ρ, and φ = a z + (1 − a) max(z, 0):
    E[φ'(u)φ'(v)] = (1 − a)² (π − θ)/(2π) + a, and
    E[φ(u)φ(v)] = √(q_u q_v) [(1 − a)² (sin θ + (π − θ) cos θ)/(2π) + a ρ]; for a = 0 the arc-cosine kernels of order 0
    and 1 (Cho and Saul 2009).

    Args:
        slope: a, any real number.
    """

    slope: float = eqx.field(static=True, default=0.0)

    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(1 + a²) q/2."""
        return variance * ((1 + self.slope**2) / 2)

    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        """Both moments of pairs; neither depends on the variances."""
        gap = full_gap(variance_u, variance_v, gap)
        bent, straight = (1 - self.slope) ** 2 / 2, self.slope
        if bent == 0.0:
            return PairMoments(gap, jnp.ones_like(gap))
        half_plane, relu = arc_cosine(gap)
        if straight == 0.0:
            return PairMoments(relu, bent * half_plane)
        straight_gap = straight / (bent + straight) * gap
        return PairMoments(bent / (bent + straight) * relu + straight_gap, bent * half_plane + straight)
