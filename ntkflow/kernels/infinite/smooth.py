"""The dual of any smooth activation: Mehler's expansion in Hermite polynomials, as many terms as the numbers need."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ntkflow.kernels.infinite.dual_activation import PairMoments, full_gap, gap_of_excesses
from ntkflow.kernels.infinite.quadrature_dual import (
    AbstractQuadratureDual,
    ScalarFunction,
    derivative_of,
    require_moments,
)

# Hermite functions are h_k(z) e^{−z²/4}, and so the sums' weights fall like e^{−z²/4} only: at 13 by 4·10⁻¹⁹.
_REACH = 13.0
_BLOCK = 16


class _Terms(NamedTuple):
    """Where the expansion is: the next k, two Hermite functions, and what has been summed for each pair.

    Attributes:
        order: the next k, even.
        functions: h_k and h_{k+1} at the nodes.
        before: 1 − ρᵏ⁻¹.
        power_gap: 1 − ρᵏ.
        apart: Σ a_k(u) a_k(v) (1 − ρᵏ) + ½ Σ (a_k(u) − a_k(v))².
        derivative: Σ k a_k(u) a_k(v) ρᵏ⁻¹.
        left: what of E[φ(u)²] and E[φ(v)²] the terms have not yet made up.
        going: whether any pair needs more.
    """

    order: Int[Array, ""]
    functions: tuple[Float[Array, " nodes"], Float[Array, " nodes"]]
    before: Float[Array, "*shape"]
    power_gap: Float[Array, "*shape"]
    apart: Float[Array, "*shape"]
    derivative: Float[Array, "*shape"]
    left: tuple[Float[Array, "*#shape"], Float[Array, "*#shape"]]
    going: Bool[Array, ""]


@final
class SmoothDual(AbstractQuadratureDual):
    """E[φ(u)φ(v)] = Σ_k a_k(q_u) a_k(q_v) ρᵏ with a_k(q) = E[φ(√q z) h_k(z)], h_k the orthonormal Hermite polynomials.

    E[φ'(u)φ'(v)] is the sum's derivative in the covariance. The a_k are trapezoidal sums over [−13, 13], which for
    analytic functions converge exponentially. Terms are added in blocks until none of the pairs changes by more than
    rounding: pairs at a gap g need no more than ≈ 32/g terms, and near ones as many as the a_k take to vanish, ≈ 140 q
    for tanh. A function with kinks has a_k that fall like a power, and belongs to ``KinkedDual``.

    ``pair`` costs about ten multiplications a term and pair, and nodes × terms for each variance, and holds nodes ×
    variances numbers: variances that are the same for a row or a column should be given with the shape of one.

    Args:
        function: φ, applied to arrays number by number, made of JAX's functions.
        nodes: of the sums, on either side of 0. 640 resolve tanh up to variance 100.
        terms: where the expansion ends if it has not converged; ``error_estimate`` then says so.

    Raises:
        ValueError: φ² without a finite mean under N(0, 1), fewer than 16 nodes or terms.
    """

    function: ScalarFunction = eqx.field(static=True)
    nodes: int = eqx.field(static=True, default=640)
    terms: int = eqx.field(static=True, default=16384)

    def __check_init__(self) -> None:
        if min(self.nodes, self.terms) < _BLOCK:
            raise ValueError(f"nodes and terms must be at least {_BLOCK}, not {self.nodes} and {self.terms}")
        require_moments(self.function)

    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The trapezoidal sum of E[φ(√q z)²]."""
        return self._mean_square(self.function, variance, 0.5)

    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        """Both moments of pairs."""
        gap = full_gap(variance_u, variance_v, gap)
        moments = self.second_moment(variance_u), self.second_moment(variance_v)
        values = self._values(variance_u), self._values(variance_v)
        end = self._expand(values, moments, gap)
        # The terms that were left out make up what is left of the second moments, times 1 − ρᵏ for the last k: either
        # nothing is left, or ρᵏ is 0 to rounding. With no gap and one variance the result is exactly 0.
        apart = end.apart + (end.left[0] + end.left[1]) / 2 * end.power_gap
        root = jnp.sqrt(variance_u) * jnp.sqrt(variance_v)
        return PairMoments(gap_of_excesses(*moments, apart, apart), end.derivative / root)

    def error_estimate(self, variance: Float[Array, " points"]) -> Float[Array, " points"]:
        """The largest of three relative numbers.

        What the terms leave of E[φ²] and of E[φ'²], the latter with φ' by automatic differentiation, and how far
        E[φ²] moves when the nodes move by half their distance.
        """
        moment = self.second_moment(variance)
        even, odd = self._values(variance)
        end = self._expand(((even, odd), (even, odd)), (moment, moment), jnp.zeros_like(variance))
        slope = self._mean_square(derivative_of(self.function), variance, 0.5)
        moved = self._mean_square(self.function, variance, 0.0)
        # A constant has E[φ'²] = 0: what counts is its size beside E[φ²]/q.
        tiny = jnp.finfo(variance.dtype).tiny
        slope_error = jnp.abs(end.derivative / variance - slope) / jnp.maximum(slope, tiny)
        return jnp.maximum(jnp.maximum(jnp.abs(end.left[0]), jnp.abs(moved - moment)) / moment, slope_error)

    def _nodes(self, dtype: jnp.dtype, shift: float = 0.5) -> tuple[Float[Array, " nodes"], float]:
        step = _REACH / self.nodes
        return (jnp.arange(self.nodes, dtype=dtype) + shift) * step, step

    def _mean_square(
        self, function: ScalarFunction, variance: Float[Array, "*shape"], shift: float
    ) -> Float[Array, "*shape"]:
        z, step = self._nodes(variance.dtype, shift)
        weight = jnp.exp(-(z**2) / 2) * (step / math.sqrt(2 * math.pi))
        weight = jnp.where(z == 0, weight / 2, weight)
        x = jnp.sqrt(variance)[..., None] * z
        return (function(x) ** 2 + function(-x) ** 2) @ weight

    def _values(self, variance: Float[Array, "*shape"]) -> tuple[Array, Array]:
        """φ(√q z) ± φ(−√q z) at the positive nodes with the sums' weights: a_k of even and of odd k."""
        z, step = self._nodes(variance.dtype)
        weight = jnp.exp(-(z**2) / 4) * (step / math.sqrt(2 * math.pi))
        x = jnp.sqrt(variance)[..., None] * z
        above, below = self.function(x), self.function(-x)
        return (above + below) * weight, (above - below) * weight

    def _expand(
        self, values: tuple[tuple[Array, Array], tuple[Array, Array]], moments: tuple[Array, Array], gap: Array
    ) -> _Terms:
        """All terms that the pairs need, in blocks."""
        z, _ = self._nodes(gap.dtype)
        epsilon = float(jnp.finfo(gap.dtype).eps)
        rho = 1 - gap
        first = jnp.exp(-(z**2) / 4)

        def block(terms: _Terms) -> _Terms:
            k = terms.order.astype(gap.dtype)
            here, following = terms.functions
            made = []
            for place in range(_BLOCK):
                made.append(here)
                up = k + (place + 1)
                here, following = following, (z * following - jnp.sqrt(up) * here) / jnp.sqrt(up + 1)
            even, odd = jnp.stack(made[::2], axis=1), jnp.stack(made[1::2], axis=1)
            a_u, a_v = [(side[0] @ even, side[1] @ odd) for side in values]
            before, power_gap, apart, derivative = terms.before, terms.power_gap, terms.apart, terms.derivative
            for place in range(_BLOCK):
                u, v = a_u[place % 2][..., place // 2], a_v[place % 2][..., place // 2]
                product = u * v
                apart = apart + product * power_gap + (u - v) ** 2 / 2
                derivative = derivative + (k + place) * product * (1 - before)
                before, power_gap = power_gap, power_gap * rho + gap
            energy = [jnp.sum(side[0] ** 2, axis=-1) + jnp.sum(side[1] ** 2, axis=-1) for side in (a_u, a_v)]
            left = (terms.left[0] - energy[0], terms.left[1] - energy[1])
            # A share of E[φ'²] in this block, at most k E[φ²]-shares: what comes after is a few times as much.
            weighted = [(k + _BLOCK) * of / moment for of, moment in zip(energy, moments, strict=True)]
            missing = [jnp.maximum(rest, 0) / moment for rest, moment in zip(left, moments, strict=True)]
            power = jnp.abs(1 - power_gap)
            needed = jnp.maximum(
                power * jnp.sqrt(weighted[0]) * jnp.sqrt(weighted[1]) > epsilon / 16,
                power * jnp.sqrt(missing[0]) * jnp.sqrt(missing[1]) > 1e3 * epsilon,
            )
            going = jnp.any(needed)
            return _Terms(terms.order + _BLOCK, (here, following), before, power_gap, apart, derivative, left, going)

        zero = jnp.zeros_like(gap)
        start = _Terms(
            jnp.asarray(0, jnp.int32), (first, z * first), zero, zero, zero, zero, moments, jnp.asarray(True)
        )
        return lax.while_loop(lambda terms: terms.going & (terms.order < self.terms), block, start)
