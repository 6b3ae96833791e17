"""The dual of a step function in closed form: the arc-cosine kernel of order 0."""

from __future__ import annotations

import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.angle import angle_of_gap
from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation, PairMoments, full_gap


@final
class Step(AbstractDualActivation):
    """φ(z) = a for z ≤ 0 and b for z > 0: the Heaviside step for a = 0, b = 1, the sign for −1, 1.

    With θ the angle between the two: E[φ(u)φ(v)] = (a² + b²)/2 − (b − a)² θ/(2π).

    φ' is 0 almost everywhere, which is what backpropagation sees: E[φ'φ'] is 0 here. The derivative of the Gaussian
    average is not, and it is infinite for u = v.

    Args:
        low: a.
        high: b.

    Raises:
        ValueError: a and b both 0, or not finite.
    """

    low: float = eqx.field(static=True, default=0.0)
    high: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if not 0 < self.low**2 + self.high**2 < math.inf:
            raise ValueError(f"a step needs two finite values that are not both 0, not {self.low} and {self.high}")

    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(a² + b²)/2, for any variance."""
        return jnp.full_like(variance, (self.low**2 + self.high**2) / 2)

    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        """Both moments of pairs; neither depends on the variances."""
        gap = full_gap(variance_u, variance_v, gap)
        share = (self.high - self.low) ** 2 / (self.low**2 + self.high**2)
        return PairMoments((share / math.pi) * angle_of_gap(gap), jnp.zeros_like(gap))
