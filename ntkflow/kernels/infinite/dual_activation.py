"""What an activation does to two Gaussian pre-activations: the step of every infinite-width kernel."""

from __future__ import annotations

import abc
from typing import NamedTuple

import equinox as eqx
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
    have a square-root singularity there.
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
