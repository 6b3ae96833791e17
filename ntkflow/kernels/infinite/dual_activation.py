"""What an activation does to two Gaussian pre-activations: the step of every infinite-width kernel."""

from __future__ import annotations

import abc
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class PairMoments(NamedTuple):
    """Moments of φ at two Gaussian pre-activations u, v; both arrays have the broadcast shape of the arguments.

    Attributes:
        gap: 1 − E[φ(u)φ(v)]/√(E[φ(u)²] E[φ(v)²]).
        derivative: E[φ'(u)φ'(v)].
    """

    gap: Float[Array, "*shape"]
    derivative: Float[Array, "*shape"]


class AbstractDualActivation(eqx.Module):
    """The dual of an activation φ: its Gaussian second moments as functions of those of the pre-activations.

    (u, v) is centred Gaussian with variances q_u, q_v > 0 and correlation 1 − g. Recursions carry the gap g and not the
    covariance: for inputs close to each other the covariance has lost g by rounding, and kernels with a kink (ReLU)
    have a square-root singularity there. The new gap is good to ε√g, as the angle of two rounded vectors is.
    """

    @abc.abstractmethod
    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """E[φ(u)²] for u ~ N(0, variance)."""

    @abc.abstractmethod
    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        """Both moments of pairs; a gap outside [0, 2] is rounding, and the nearest end is taken."""


def full_gap(
    variance_u: Float[Array, "*#shape"], variance_v: Float[Array, "*#shape"], gap: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    """The gap inside [0, 2], in the broadcast shape of all three."""
    return jnp.broadcast_to(
        jnp.clip(gap, 0.0, 2.0), jnp.broadcast_shapes(variance_u.shape, variance_v.shape, gap.shape)
    )


def gap_of_excesses(
    moment_u: Float[Array, "*#shape"],
    moment_v: Float[Array, "*#shape"],
    excess_u: Float[Array, "*#shape"],
    excess_v: Float[Array, "*#shape"],
) -> Float[Array, "*shape"]:
    """1 − m/√(m_u m_v) from the excesses m_u − m and m_v − m of two second moments over the mixed one.

    √(m_u m_v) − m = ½(m_u − m) + ½(m_v − m) − ½(√m_u − √m_v)². Between near inputs at distance δ the excesses are of
    the size δ and their sum of δ²: from excesses with few ulp of error the gap has an error of ε δ, not of ε.
    """
    root_u, root_v = jnp.sqrt(moment_u), jnp.sqrt(moment_v)
    apart = (excess_u + excess_v - (root_u - root_v) ** 2) / 2
    return jnp.clip(apart / (root_u * root_v), 0.0, 2.0)
