"""One image, as networks of images take it."""

from __future__ import annotations

from jaxtyping import Array, Float


def require_image(network: str, x: Float[Array, "..."], weight: Float[Array, "outputs channels height width"]) -> None:
    """Refuses an input that the first convolution of a network cannot take.

    Args:
        network: its name.
        x: the input.
        weight: of the first convolution.

    Raises:
        ValueError: x has not the shape (channels, rows, columns), or another dtype than the weights.
    """
    if x.ndim != 3 or x.shape[0] != weight.shape[1] or x.dtype != weight.dtype:
        raise ValueError(
            f"{network}: one input must be {weight.dtype} of shape ({weight.shape[1]}, rows, columns), not {x.dtype}"
            f" of shape {x.shape}; a grey image of shape (rows, columns) becomes one by x[None]"
        )
