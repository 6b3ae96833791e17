"""Kernels from products with the Jacobian, JVPs after VJPs: for networks whose gradients are too large to hold."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.network_program import NetworkProgram, Trace


def products_tile(
    program: NetworkProgram,
    rows: Float[Array, "rows ..."],
    columns: Float[Array, "columns ..."],
    combinations: Float[Array, "combinations outputs"],
    *,
    trace: Trace,
) -> Array:
    """One backward derivative for each column and combination v, and its products with the gradients at all rows.

    What is held does not grow with parameters × outputs × samples; the work grows with the number of pairs.

    Returns:
        For the traces "sum" and "mean" Σ_v ⟨∇⟨v, f(x)⟩, ∇⟨v, f(x')⟩⟩, shape (rows, columns); for "outputs" the terms of
        that sum, (combinations, rows, columns); for ``None`` ⟨∇f_k(x), ∇⟨v, f(x')⟩⟩, (rows, outputs, columns,
        combinations).
    """

    def at_rows(leaves: list[Array]) -> Float[Array, "rows outputs"]:
        return jax.vmap(lambda x: program.function(leaves, x))(rows)

    _, forward = jax.linearize(at_rows, program.leaves)

    def column(x: Array) -> Array:
        values, backward = jax.vjp(lambda leaves: program.function(leaves, x), program.leaves)

        def one(v: Float[Array, " outputs"]) -> Array:
            (gradient,) = backward(v)
            products = forward(gradient)
            return products if trace is None else products @ v

        found = jax.lax.map(one, combinations.astype(values.dtype))
        return found.sum(0) if trace in ("sum", "mean") else found

    found = jax.lax.map(column, columns)
    if trace is None:
        return found.transpose(2, 3, 0, 1)
    return found.transpose(1, 2, 0) if trace == "outputs" else found.T
