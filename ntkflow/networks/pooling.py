"""Pooling of images: over windows, or over all positions."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def global_average_pool(a: Float[Array, "channels rows columns"]) -> Float[Array, " channels"]:
    """Mean of each channel over all positions."""
    return jnp.mean(a, (1, 2))


def average_pool(a: Float[Array, "channels rows columns"], window: int) -> Float[Array, "channels fewer less"]:
    """Means over windows side by side; rows and columns that fill no window are dropped, as in PyTorch."""
    return jnp.mean(_windows(a, window), (2, 4))


def max_pool(
    a: Float[Array, "channels rows columns"], window: int, *, partial: bool = False
) -> Float[Array, "channels fewer less"]:
    """Largest value of windows side by side; rows and columns that fill no window are dropped, as in PyTorch.

    Where values tie, the derivative is that of the first in the order of rows, as in PyTorch. A value is NaN if one in
    its window is.

    Args:
        a: the image.
        window: rows and columns of a window.
        partial: whether windows that the edge cuts off count too, so that nothing is dropped: ``ceil_mode`` of
            PyTorch, and the padding "SAME" of Flax.
    """
    if partial:
        missing = [(0, -size % window) for size in a.shape[1:]]
        a = jnp.pad(a, [(0, 0), *missing], constant_values=-jnp.inf)
    windows = _windows(a, window)
    largest, *others = (windows[:, :, row, :, column] for row in range(window) for column in range(window))
    # Not jnp.max: its derivative compares each value with the largest, and where a compiler computes a twice, with
    # another rounding, none is equal to it: the derivative is then 0/0.
    for other in others:
        largest = jnp.where((other > largest) | jnp.isnan(other), other, largest)
    return largest


def _windows(
    a: Float[Array, "channels rows columns"], window: int
) -> Float[Array, "channels fewer window less window"]:
    channels, rows, columns = a.shape
    fewer, less = rows // window, columns // window
    if not (fewer and less):
        raise ValueError(f"pooling: an image of {rows}×{columns} has no whole window of {window}×{window}")
    return a[:, : fewer * window, : less * window].reshape(channels, fewer, window, less, window)
