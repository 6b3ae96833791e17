"""Functions of all pairs of two sets, a tile at a time, so that what is between inputs and result stays in cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

TileFunction = Callable[[Int[Array, ""], Int[Array, ""]], tuple[Float[Array, "*stack height width"], ...]]
"""From the first row and the first column of a tile to the values of its pairs; as many arrays as there are results."""


class Tiling(NamedTuple):
    """Tiles of one size that cover rows × columns, and as little past the end as there can be.

    Attributes:
        rows, columns: what is covered.
        height, width: of a tile.
        down, across: numbers of tiles.
        symmetric: whether only the upper triangle of tiles is computed.
    """

    rows: int
    columns: int
    height: int
    width: int
    down: int
    across: int
    symmetric: bool

    @classmethod
    def of(cls, rows: int, columns: int, tile: int, *, symmetric: bool) -> Tiling:
        """Tiles of at most ``tile`` rows and columns."""
        down, across = -(-rows // tile), -(-columns // tile)
        return cls(rows, columns, -(-rows // down), -(-columns // across), down, across, symmetric)

    def padded_rows(self, of_rows: Float[Array, "rows ..."]) -> Float[Array, "padded ..."]:
        """Repeats the last row up to the end of the last tile: numbers that are cut off, but must not be NaN."""
        return _padded(of_rows, self.height * self.down)

    def padded_columns(self, of_columns: Float[Array, "columns ..."]) -> Float[Array, "padded ..."]:
        """The same for columns."""
        return _padded(of_columns, self.width * self.across)


def in_tiles(
    function: TileFunction, tiling: Tiling, *, stack: tuple[int, ...], dtype: jnp.dtype
) -> tuple[Float[Array, "*stack rows columns"], Float[Array, "*stack rows columns"]]:
    """The two results of ``function`` on all pairs, each with the axes ``stack`` in front; mirrored if symmetric."""
    places = [(i, j) for i in range(tiling.down) for j in range(i if tiling.symmetric else 0, tiling.across)]
    where = jnp.asarray(np.asarray(places, np.int32) * np.asarray([tiling.height, tiling.width], np.int32))
    zero = [jnp.asarray(0, jnp.int32)] * len(stack)

    def write(place: Int[Array, ""], results: tuple[Array, ...]) -> tuple[Array, ...]:
        i, j = where[place, 0], where[place, 1]
        made = function(i, j)
        if tiling.symmetric:
            results = tuple(
                lax.dynamic_update_slice(result, jnp.swapaxes(values, -1, -2), (*zero, j, i))
                for result, values in zip(results, made, strict=True)
            )
        return tuple(
            lax.dynamic_update_slice(result, values, (*zero, i, j))
            for result, values in zip(results, made, strict=True)
        )

    empty = jnp.zeros((*stack, tiling.down * tiling.height, tiling.across * tiling.width), dtype)
    first, second = lax.fori_loop(0, len(places), write, (empty, empty))
    return first[..., : tiling.rows, : tiling.columns], second[..., : tiling.rows, : tiling.columns]


def _padded(array: Float[Array, "some ..."], length: int) -> Float[Array, "padded ..."]:
    pad = [(0, length - array.shape[0])] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, pad, mode="edge")
