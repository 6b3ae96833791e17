"""The dual of sine, cosine and their mixtures in closed form: the Gaussian kernel and its relatives."""

from __future__ import annotations

import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation, PairMoments, full_gap, gap_of_excesses


@final
class Sine(AbstractDualActivation):
    """φ(z) = sin(ω z + η): cosine for η = π/2; η = π/4 gives the Gaussian kernel of random Fourier features.

    With the variances d of ω(u − v) and s of ω(u + v), and C = cos 2η:
    E[φ(u)φ(v)] = ½ (e^{−d/2} − C e^{−s/2}), E[φ'(u)φ'(v)] = ½ ω² (e^{−d/2} + C e^{−s/2}).

    Args:
        frequency: ω > 0.
        phase: η.

    Raises:
        ValueError: a frequency that is not positive, or a phase that is not finite.
    """

    frequency: float = eqx.field(static=True, default=1.0)
    phase: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        if not 0 < self.frequency < math.inf or not math.isfinite(self.phase):
            raise ValueError(f"a sine needs a positive frequency and a phase, not {self.frequency} and {self.phase}")

    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """½ (1 − C e^{−2ω²q}) = sin²η + ½ C (1 − e^{−2ω²q})."""
        mixed = math.cos(2 * self.phase)
        return math.sin(self.phase) ** 2 - mixed / 2 * jnp.expm1(-2 * self.frequency**2 * variance)

    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        """Both moments of pairs."""
        gap = full_gap(variance_u, variance_v, gap)
        mixed = math.cos(2 * self.phase)
        q_u, q_v = self.frequency**2 * variance_u, self.frequency**2 * variance_v
        # The half variance of u − v, without the difference of variances and covariance.
        half = (jnp.sqrt(q_u) - jnp.sqrt(q_v)) ** 2 / 2 + jnp.sqrt(q_u) * jnp.sqrt(q_v) * gap
        # Mean of the two second moments less the mixed one; e^{−q_u−q_v}(e^{half} − 1) without overflow.
        grown = -jnp.expm1(-half) * jnp.exp(half - q_u - q_v)
        apart = -jnp.expm1(-half) + mixed * (grown - (jnp.exp(-q_u) - jnp.exp(-q_v)) ** 2 / 2)
        moments = self.second_moment(variance_u), self.second_moment(variance_v)
        derivative = jnp.exp(-half) + mixed * jnp.exp(half - q_u - q_v)
        # ½(m_u − m) + ½(m_v − m) = ½ · apart: the same excess on both sides.
        return PairMoments(gap_of_excesses(*moments, apart / 2, apart / 2), self.frequency**2 / 2 * derivative)
