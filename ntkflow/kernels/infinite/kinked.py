"""The dual of an activation with kinks: Gauss–Legendre panels in polar coordinates, split where u or v meets a kink."""

from __future__ import annotations

import itertools
import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.angle import angle_of_gap
from ntkflow.kernels.infinite.dual_activation import PairMoments, full_gap
from ntkflow.kernels.infinite.quadrature_dual import (
    AbstractQuadratureDual,
    ScalarFunction,
    derivative_of,
    require_moments,
)

_REACH = 10.0
# Where along a line that passes the origin the density falls: without splits there the panels converge slowly.
_RADII = (1.2, 4.0)
_GAPS = (0.02, 0.5, 1.5)


@final
class KinkedDual(AbstractQuadratureDual):
    """Moments of φ that is smooth but for the places that are named, as integrals over r and t.

    With θ the angle of the pair, u = √q_u r cos t and v = √q_v r cos(t − θ) over |t| < π/2 and all r, of density
    |r| e^{−r²/2}/(2π). The lines u = κ and v = κ' cut the plane into cells. r is split on the lines; t at their
    crossings, at their asymptotes, and where one is 1.2 and 4 away from the origin. So Gauss–Legendre panels see smooth
    functions, at every θ down to 0. The gap is computed as ½E[(φ(u)/√E[φ(u)²] − φ(v)/√E[φ(v)²])²], which does not
    cancel for near inputs.

    A pair costs about order² (2 + k² + 8k)(2 + 2k) evaluations of φ and φ' at u and at v, with k the number of kinks
    that are not at 0: dear. For ReLU and its relatives ``LeakyReLU`` has the closed form, for smooth φ ``SmoothDual``
    a cheaper sum.

    Args:
        function: φ, applied to arrays number by number, made of JAX's functions.
        kinks: where φ or a derivative of it jumps.
        derivative: φ', by automatic differentiation if not given.
        order: nodes of each panel.

    Raises:
        ValueError: no kinks or one that is not finite, fewer than 8 nodes, φ² without a finite mean under N(0, 1).
    """

    function: ScalarFunction = eqx.field(static=True)
    kinks: tuple[float, ...] = eqx.field(static=True)
    derivative: ScalarFunction | None = eqx.field(static=True, default=None)
    order: int = eqx.field(static=True, default=40)

    def __check_init__(self) -> None:
        if not self.kinks or not all(math.isfinite(kink) for kink in self.kinks):
            raise ValueError(f"kinks must be finite places, at least one, not {self.kinks}: SmoothDual is for none")
        if self.order < 8:
            raise ValueError(f"order must be at least 8, not {self.order}")
        require_moments(self.function)

    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """E[φ(√q z)²], split at the kinks and at 0."""
        root = jnp.sqrt(variance)
        total = jnp.zeros_like(variance)
        nodes, weights = self._rule(variance.dtype)
        cuts = _between(_REACH, [jnp.zeros_like(root), *(kink / root for kink in self.kinks if kink != 0)])
        for low, high in itertools.pairwise(cuts):
            z = low[..., None] + (high - low)[..., None] * nodes
            values = self.function(root[..., None] * z) ** 2 * jnp.exp(-(z**2) / 2)
            total = total + (high - low) * (values @ weights)
        return total / math.sqrt(2 * math.pi)

    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        """Both moments of pairs."""
        gap = full_gap(variance_u, variance_v, gap)
        root_u, root_v = jnp.sqrt(variance_u), jnp.sqrt(variance_v)
        size_u, size_v = jnp.sqrt(self.second_moment(variance_u)), jnp.sqrt(self.second_moment(variance_v))
        theta = angle_of_gap(gap)
        slope = self.derivative or derivative_of(self.function)
        nodes, weights = self._rule(gap.dtype)
        away = [kink for kink in self.kinks if kink != 0]
        crossings = [
            _crossing(first / root_u, second / root_v, gap)
            for first in self.kinks
            for second in self.kinks
            if first != 0 or second != 0
        ]
        leaving = [
            _folded(sign * jnp.arccos(jnp.minimum(abs(kink) / (radius * root), 1.0)) + turn)
            for kink in away
            for root, turn in ((root_u, jnp.zeros_like(theta)), (root_v, theta))
            for radius in _RADII
            for sign in (1, -1)
        ]
        turns = jnp.stack(_between(math.pi / 2, [theta - math.pi / 2, *crossings, *leaving]))

        def direction(place: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            low, width = _panel(turns, place // self.order)
            t = low + width * nodes[place % self.order]
            along_u, along_v = root_u * jnp.cos(t), root_v * jnp.cos(t - theta)
            cuts = [jnp.zeros_like(gap), *(kink / along for kink in away for along in (along_u, along_v))]
            radii = jnp.stack(_between(_REACH, cuts))

            def radius(inner: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
                low, breadth = _panel(radii, inner // self.order)
                r = low + breadth * nodes[inner % self.order]
                weight = weights[inner % self.order] * breadth * jnp.abs(r) * jnp.exp(-(r**2) / 2)
                u, v = along_u * r, along_v * r
                apart = (self.function(u) / size_u - self.function(v) / size_v) ** 2 / 2
                return sums[0] + weight * apart, sums[1] + weight * slope(u) * slope(v)

            zero = jnp.zeros_like(gap)
            inner = lax.fori_loop(0, (radii.shape[0] - 1) * self.order, radius, (zero, zero))
            weight = weights[place % self.order] * width
            return sums[0] + weight * inner[0], sums[1] + weight * inner[1]

        zero = jnp.zeros_like(gap)
        apart, derivative = lax.fori_loop(0, (turns.shape[0] - 1) * self.order, direction, (zero, zero))
        return PairMoments(jnp.clip(apart / (2 * math.pi), 0.0, 2.0), derivative / (2 * math.pi))

    def error_estimate(self, variance: Float[Array, " points"]) -> Float[Array, " points"]:
        """The largest difference to three quarters of the order: of gaps, and of derivatives relative to E[φ'²].

        At the gaps 0.02, 0.5 and 1.5.
        """
        coarse = KinkedDual(self.function, self.kinks, self.derivative, max(8, self.order * 3 // 4))
        gaps = jnp.asarray([0.0, *_GAPS], variance.dtype)[:, None]
        fine, other = self.pair(variance, variance, gaps), coarse.pair(variance, variance, gaps)
        slopes = jnp.abs(fine.derivative - other.derivative) / jnp.maximum(
            fine.derivative[0], jnp.finfo(variance.dtype).tiny
        )
        moments = jnp.abs(1 - coarse.second_moment(variance) / self.second_moment(variance))
        return jnp.max(jnp.maximum(jnp.maximum(jnp.abs(fine.gap - other.gap), slopes), moments), axis=0)

    def _rule(self, dtype: jnp.dtype) -> tuple[Float[Array, " order"], Float[Array, " order"]]:
        """Gauss–Legendre nodes and weights on [0, 1]."""
        nodes, weights = np.polynomial.legendre.leggauss(self.order)
        return jnp.asarray((nodes + 1) / 2, dtype), jnp.asarray(weights / 2, dtype)


def _between(end: float, cuts: list[Float[Array, "..."]]) -> list[Float[Array, "..."]]:
    """−end, the cuts in their order, end; what lies outside, or is no number, becomes an empty panel."""
    shape = jnp.broadcast_shapes(*(cut.shape for cut in cuts))
    inside = jnp.stack([jnp.broadcast_to(jnp.nan_to_num(jnp.clip(cut, -end, end)), shape) for cut in cuts])
    full = jnp.full_like(inside[0], end)
    return [-full, *jnp.sort(inside, axis=0), full]


def _panel(cuts: Float[Array, "cuts *shape"], place: Array) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    low = lax.dynamic_index_in_dim(cuts, place, keepdims=False)
    return low, lax.dynamic_index_in_dim(cuts, place + 1, keepdims=False) - low


def _crossing(x: Float[Array, "..."], y: Float[Array, "..."], gap: Float[Array, "..."]) -> Float[Array, "..."]:
    """The direction t, |t| ≤ π/2, in which r cos t = x and r cos(t − θ) = y for one r of either sign."""
    up, right = (y - x) + x * gap, x * jnp.sqrt(gap * (2 - gap))
    sign = jnp.where(right < 0, -1.0, 1.0)
    return jnp.arctan2(sign * up, sign * right)


def _folded(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """The same line through the origin with |t| ≤ π/2, for t from −π/2 to 3π/2."""
    return jnp.where(t > math.pi / 2, t - math.pi, t)
