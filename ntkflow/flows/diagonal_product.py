"""The product with a matrix that is diagonal, while its derivative is not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float


@jax.custom_jvp
def times_diagonal(
    weight: Float[Array, "outputs dims"], diagonal: Float[Array, " dims"], rest: Float[Array, "dims dims"]
) -> Float[Array, "outputs dims"]:
    """W(diag(e) + X) for an X that is 0 but whose derivative is not: element by element, without the product WX."""
    return weight * diagonal


def _derivative(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    weight, diagonal, _ = primals
    of_weight, of_diagonal, of_rest = tangents
    change = jnp.zeros_like(weight)
    if not isinstance(of_weight, SymbolicZero):
        change = change + of_weight * diagonal
    if not isinstance(of_diagonal, SymbolicZero):
        change = change + weight * of_diagonal
    # The one product that is not element by element: only where E depends on what is differentiated by.
    if not isinstance(of_rest, SymbolicZero):
        change = change + weight @ of_rest
    return weight * diagonal, change


times_diagonal.defjvp(_derivative, symbolic_zeros=True)
