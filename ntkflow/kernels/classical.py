"""Kernels of two sets of samples in closed form, without a network behind them."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def rbf_kernel(
    rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."], *, length_scale: float
) -> Float[Array, "rows columns"]:
    """exp(−‖x − x'‖²/(2ℓ²)), the Gaussian kernel; inputs of any shape are flattened.

    Raises:
        ValueError: a length scale that is not positive.
    """
    if not length_scale > 0:
        raise ValueError(f"length_scale must be positive, not {length_scale}")
    x, y = rows.reshape(rows.shape[0], -1) / length_scale, columns.reshape(columns.shape[0], -1) / length_scale
    # ‖x‖² − 2⟨x, x'⟩ + ‖x'‖² costs one product of matrices, where the differences would be rows × columns × inputs
    # numbers. About their common mean the squares are as small as they can be, and so is what they lose by cancelling.
    mean = jnp.mean(y, axis=0)
    x, y = x - mean, y - mean
    squared = jnp.sum(x**2, axis=1)[:, None] - 2 * x @ y.T + jnp.sum(y**2, axis=1)[None, :]
    return jnp.exp(-jnp.maximum(squared, 0.0) / 2)


def linear_kernel(
    rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."], *, bias: float = 1.0
) -> Float[Array, "rows columns"]:
    """⟨x, x'⟩ + bias²: the tangent kernel of w·x + bias·b, so of the linear model with its own offset for bias 1."""
    return rows.reshape(rows.shape[0], -1) @ columns.reshape(columns.shape[0], -1).T + bias**2
