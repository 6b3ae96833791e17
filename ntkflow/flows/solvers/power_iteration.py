"""The spectral radius of a Jacobian while a solver steps: power iteration on finite differences of the field.

One evaluation of the vector field an iteration, no derivative of it. An estimate along a start direction approaches
from below; the solver adds a margin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

_ITERATIONS = 12
"""Power iterations before the first step; later steps do one each, from where the last one ended."""
_FRESH = 0.05
"""Share of the slope that is mixed into the direction: a mode that the direction has lost altogether grows where the
step is unstable for it, shows in the slope, and comes back. It lowers the estimate by about its square."""
_MEMORY = 0.9
"""An estimate may fall by this factor a step, and not faster: with complex eigenvalues it swings."""

Field = Callable[[Any], Any]
Loop = Callable[[Callable[[Any], Any], Callable[[Any], Any], Any, int], Any]
"""``lax.while_loop`` with the most iterations that there can be as a fourth argument."""


class Growth(eqx.Module):
    """The direction d in which the vector field grows most, as far as it is known, and ‖Jd‖.

    Attributes:
        direction: a unit vector.
        size: ‖Jd‖, the estimate of the spectral radius.
        known: whether anything is: the first guess is not.
    """

    direction: PyTree[Array]
    size: Float[Array, ""]
    known: Bool[Array, ""]

    @staticmethod
    def guess(y: PyTree[Array]) -> Growth:
        """A random direction: the same numbers in every run. Normal ones have a part along every direction, smooth ones
        would not."""
        leaves, structure = jax.tree.flatten(y)
        keys = jax.random.split(jax.random.key(0), max(len(leaves), 1))
        start = structure.unflatten(
            [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=False)]
        )
        return Growth(_unit(start), jnp.zeros((), _dtype(y)), jnp.asarray(False))

    def improved(self, field: Field, y: PyTree[Array], slope: PyTree[Array], loop: Loop) -> Growth:
        """By one iteration on the Jacobian at ``y``, where the field is ``slope``; a guess by several."""
        share = _FRESH / _norm(slope)
        share = jnp.where(self.known & jnp.isfinite(share), share, 0)
        mixed = jax.tree.map(lambda d, f: jnp.where(share > 0, d + share.astype(d.dtype) * f, d), self.direction, slope)
        last = jnp.where(self.known, 1, _ITERATIONS)

        def iterate(carry: Any) -> Any:
            index, direction, size = carry
            turned, found = _iterate(field, y, slope, direction, size)
            # NaN comes from a field that is not defined beside y: go on with what was known.
            return index + 1, turned, jnp.where(jnp.isfinite(found), found, size)

        start = (jnp.zeros_like(last), _unit(mixed), self.size)
        _, direction, size = loop(lambda carry: carry[0] < last, iterate, start, _ITERATIONS)
        size = jnp.where(self.known, jnp.maximum(size, _MEMORY * self.size), size)
        # Only the number of stages depends on the estimate: nothing to differentiate.
        return jax.lax.stop_gradient(Growth(direction, size, jnp.asarray(True)))


def _iterate(
    field: Field, y: PyTree[Array], slope: PyTree[Array], direction: PyTree[Array], radius: Float[Array, ""]
) -> tuple[PyTree[Array], Float[Array, ""]]:
    """Jd/‖Jd‖ and ‖Jd‖ for a unit vector d, by a forward difference."""
    # Near y = 0 the difference is taken over the way on which the fastest mode relaxes, ‖f‖/ρ.
    way = jnp.where(radius > 0, _norm(slope) / jnp.where(radius > 0, radius, 1), 0)
    length = jnp.maximum(_norm(y), way)
    length = jnp.sqrt(jnp.finfo(length.dtype).eps) * jnp.where((length > 0) & jnp.isfinite(length), length, 1)
    moved = field(jax.tree.map(lambda a, d: a + length.astype(a.dtype) * d, y, direction))
    product = jax.tree.map(lambda a, b: (a - b) / length.astype(a.dtype), moved, slope)
    size = _norm(product)
    # A vanishing Jacobian leaves nothing to iterate on: keep the direction.
    usable = (size > 0) & jnp.isfinite(size)
    scale = 1 / jnp.where(usable, size, 1)
    turned = jax.tree.map(lambda p, d: jnp.where(usable, scale.astype(p.dtype) * p, d), product, direction)
    return turned, size


def _norm(tree: PyTree[Array]) -> Float[Array, ""]:
    dtype = _dtype(tree)
    return jnp.sqrt(sum((jnp.sum(leaf**2).astype(dtype) for leaf in jax.tree.leaves(tree)), jnp.zeros((), dtype)))


def _unit(tree: PyTree[Array]) -> PyTree[Array]:
    size = _norm(tree)
    factor = 1 / jnp.where(size > 0, size, 1)
    return jax.tree.map(lambda leaf: factor.astype(leaf.dtype) * leaf, tree)


def _dtype(tree: PyTree[Array]) -> Any:
    return jnp.result_type(*jax.tree.leaves(tree)) if jax.tree.leaves(tree) else jnp.result_type(float)
