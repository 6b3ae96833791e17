"""Arnoldi's method and GMRES for an operator that is only applied, on flat vectors."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Operator = Callable[[Array], Array]


class Arnoldi(eqx.Module):
    """An orthonormal basis V of a Krylov space with AV_k = V_{k+1}H, as far as it was built.

    What was not built is zero. ``residual`` is ‖b − AV_k x‖/‖b‖ of the best x, b the vector the space began with.
    """

    basis: Float[Array, "dimension_plus_1 size"]
    hessenberg: Float[Array, "dimension_plus_1 dimension"]
    built: Int[Array, ""]
    residual: Float[Array, ""]


def arnoldi(
    operator: Operator, start: Float[Array, " size"], dimension: int, tolerance: float | Float[Array, ""] = 0.0
) -> Arnoldi:
    """Build the Krylov space of ``start`` up to a dimension, or until GMRES in it has a relative residual below a
    tolerance.

    Gram–Schmidt twice, which keeps V orthogonal up to rounding. The GMRES residual needs no least squares: it is
    ‖b‖/‖c‖ with c₀ = 1 and cᵀH = 0, a recurrence down the columns.
    """
    dimension = min(dimension, start.size)
    length = jnp.linalg.norm(start)
    eps = jnp.finfo(start.dtype).eps
    basis = jnp.zeros((dimension + 1, start.size), start.dtype)
    basis = basis.at[0].set(start / jnp.where(length > 0, length, 1))
    null = jnp.zeros(dimension + 1, start.dtype).at[0].set(1.0)

    def more(carry: tuple[Array, ...]) -> Array:
        k, _, _, _, residual = carry
        return (k < dimension) & (residual > tolerance)

    def extend(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        k, basis, hessenberg, null, _ = carry
        image = operator(basis[k])
        size = jnp.linalg.norm(image)
        column = basis @ image
        image = image - column @ basis
        again = basis @ image
        image, column = image - again @ basis, column + again
        rest = jnp.linalg.norm(image)
        # The space is invariant: what is left is rounding, and the solution lies in the space.
        closed = rest <= 10 * eps * size
        safe = jnp.where(closed, 1.0, rest)
        basis = basis.at[k + 1].set(jnp.where(closed, 0.0, image / safe))
        hessenberg = hessenberg.at[:, k].set(column.at[k + 1].set(jnp.where(closed, 0.0, rest)))
        null = null.at[k + 1].set(jnp.where(closed, 0.0, -(column @ null) / safe))
        residual = jnp.where(closed, 0.0, 1 / jnp.linalg.norm(null))
        return k + 1, basis, hessenberg, null, residual

    first = (
        jnp.asarray(0),
        basis,
        jnp.zeros((dimension + 1, dimension), start.dtype),
        null,
        jnp.where(length > 0, 1.0, 0.0).astype(start.dtype),
    )
    built, basis, hessenberg, _, residual = jax.lax.while_loop(more, extend, first)
    return Arnoldi(basis, hessenberg, built, residual)


def gmres(
    operator: Operator, right: Float[Array, " size"], *, dimension: int, tolerance: float | Float[Array, ""]
) -> tuple[Float[Array, " size"], Arnoldi]:
    """x with ‖b − Ax‖ ≤ tolerance · ‖b‖, or the best one in the Krylov space of the given dimension, and that space.

    Saad and Schultz, SIAM J. Sci. Stat. Comput. 7 (1986). No restarts.
    """
    space = arnoldi(operator, right, dimension, tolerance)
    size = space.hessenberg.shape[1]
    # Columns that were not built become unit vectors below the diagonal: they get the coefficient 0. So does the last
    # one of a closed space that is singular, where the triangle has a zero.
    unbuilt = jnp.arange(size) >= space.built
    below = jnp.eye(size + 1, size, -1, dtype=right.dtype)
    q, r = jnp.linalg.qr(jnp.where(unbuilt[None, :], below, space.hessenberg))
    diagonal = jnp.diagonal(r)
    singular = jnp.abs(diagonal) <= size * jnp.finfo(right.dtype).eps * jnp.max(jnp.abs(diagonal))
    r = jnp.where(jnp.diag(singular), jnp.eye(size, dtype=right.dtype), r)
    side = jnp.where(singular, 0.0, q[0] * jnp.linalg.norm(right))
    coefficients = jax.scipy.linalg.solve_triangular(r, side)
    return coefficients @ space.basis[:-1], space
