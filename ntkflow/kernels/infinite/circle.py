"""Images on a circle: where the position pairs of an infinitely wide convolutional network fall apart into offsets."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


class Circle(NamedTuple):
    """The positions of an image, row by row, on a circle, with zeros where patches reach beyond the image.

    A patch adds up position pairs (n, n') that are shifted together, so n' − n is the same throughout a network: every
    offset is a recursion of its own, over as many numbers as the image has positions, and its patch sums are sums of a
    few shifted copies. ``reach`` zeros after every row and ``reach`` rows of zeros after the last one are enough for
    every shift, in both directions, to meet zeros outside the image; all offsets together are the integers mod
    ``size``.

    Attributes:
        height: Rows of the image.
        width: Its columns.
        reach: (q − 1)/2 for filters of q × q.
    """

    height: int
    width: int
    reach: int

    @property
    def row(self) -> int:
        """Positions from one pixel to the one below it."""
        return self.width + self.reach

    @property
    def size(self) -> int:
        """Positions on the circle, ``positions + halo``."""
        return (self.height + self.reach) * self.row

    @property
    def halo(self) -> int:
        """How far a patch reaches, to either side."""
        return self.reach * (self.row + 1)

    @property
    def positions(self) -> int:
        """Positions from the first pixel to the last, with the zeros between rows."""
        return self.size - self.halo

    def embed(self, images: Float[Array, "*channels height width lanes"]) -> Float[Array, "*channels size lanes"]:
        """The images on the circle."""
        zeros = [(0, 0)] * (images.ndim - 3)
        padded = jnp.pad(images, (*zeros, (0, self.reach), (0, self.reach), (0, 0)))
        return padded.reshape(*images.shape[:-3], self.size, images.shape[-1])

    def inside(self) -> Float[Array, "size 1"]:
        """1 at pixels, 0 beside the image."""
        return self.embed(jnp.ones((self.height, self.width, 1)))

    def with_halo(self, values: Float[Array, "*channels size lanes"]) -> Float[Array, "*channels extent lanes"]:
        """Positions −halo … size − 1 of arrays that are 0 beside the image."""
        zeros = [(0, 0)] * (values.ndim - 2)
        return jnp.pad(values, (*zeros, (self.halo, 0), (0, 0)))

    def twice_round(self, values: Float[Array, "*channels size lanes"]) -> Float[Array, "*channels twice lanes"]:
        """Positions −halo … 2 size − 1: the window of ``extent`` from d on is the array seen from offset d."""
        return jnp.concatenate([self.with_halo(values), values], axis=-2)

    def patch_sums(self, values: Float[Array, "extent lanes"]) -> Float[Array, "positions lanes"]:
        """Sums over the patches around the positions of the image; between rows the sums mean nothing."""
        reach = range(-self.reach, self.reach + 1)
        shifts = [self.halo + down * self.row + right for down in reach for right in reach]
        return sum(
            (lax.slice_in_dim(values, shift, shift + self.positions) for shift in shifts[1:]),
            lax.slice_in_dim(values, shifts[0], shifts[0] + self.positions),
        )

    def row_sums(self, values: Float[Array, "extent lanes"]) -> Float[Array, "row lanes"]:
        """Sums over all rows, which leave one row; the rest is for the end, where it is done once."""
        # Written out as additions of rows: XLA's own sums over a leading axis cost several times as much on a CPU.
        starts = range(self.halo, self.halo + self.size, self.row)
        rows = [lax.slice_in_dim(values, start, start + self.row) for start in starts]
        return sum(rows[1:], rows[0])
