"""The kernel of a data set as an operator: made anew, tile by tile, wherever it is applied, and never stored."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ntkflow.kernels.operator import AbstractKernelOperator
from ntkflow.kernels.pair_kernel import AbstractPairKernel

DEFAULT_TILE = 512
"""Rows and columns; from 128 to 1024 the time hardly changes."""


@final
class TiledKernel(AbstractKernelOperator):
    """Θ(X, X) ⊗ 1 on arrays outputs × samples, in memory O(tile² + N outputs) in place of N².

    One application evaluates every pair of samples once, N(N + tile)/2 of them: a tile beside the diagonal serves for
    its mirror too. Tiles have one shape; the last ones are filled up with copies of the last sample, on which the array
    is 0.

    Args:
        pairs: Θ(x, x').
        inputs: X.
        tile: rows and columns of Θ that there are at a time; without effect on the numbers but for rounding.

    Raises:
        ValueError: a tile below 1, no inputs, inputs that are not finite, inputs that the kernel is not defined for, a
            Θ(x, x) that is negative or not finite.
    """

    pairs: AbstractPairKernel
    inputs: Float[Array, "samples ..."]
    own: Float[Array, " samples"]
    tile: int = eqx.field(static=True)

    def __init__(
        self, pairs: AbstractPairKernel, inputs: Float[Array, "samples ..."], tile: int = DEFAULT_TILE
    ) -> None:
        if tile < 1:
            raise ValueError(f"tile must be at least 1, not {tile}")
        self.pairs = pairs
        self.inputs = inputs
        self.own = _diagonal(pairs, inputs)
        self.tile = min(tile, inputs.shape[0])

    @property
    def samples(self) -> int:
        """N."""
        return self.inputs.shape[0]

    def apply(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """Σ_j Θ(xᵢ, xⱼ) array_j."""
        return _applied(self, array)

    def rows(self, indices: Int[Array, " rows"]) -> Float[Array, "rows samples"]:
        """Θ(x_i, X) of some samples i."""
        return self.pairs.block(self.inputs[indices], self.inputs)

    def diagonal(self) -> Float[Array, " samples"]:
        """Θ(xᵢ, xᵢ)."""
        return self.own

    def test_diagonal(self, inputs: Float[Array, "tests ..."]) -> Float[Array, " tests"]:
        """Θ(x, x) of other inputs. Raises ``ValueError`` where X's would be refused, or inputs of another shape."""
        if inputs.shape[1:] != self.inputs.shape[1:]:
            raise ValueError(
                f"inputs of shape {inputs.shape[1:]} cannot be compared with those of shape {self.inputs.shape[1:]}"
            )
        return _diagonal(self.pairs, inputs)

    def cross(self, inputs: Float[Array, "tests ..."]) -> Float[Array, "tests samples"]:
        """Θ(x, X) of other inputs, all of it: tests × N numbers."""
        return self.pairs.block(inputs, self.inputs)

    def apply_cross(
        self, inputs: Float[Array, "tests ..."], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs tests"]:
        """Σ_j Θ(x, xⱼ) array_j of other inputs, tile by tile."""
        return _applied_cross(self, inputs, array)


def _diagonal(pairs: AbstractPairKernel, inputs: Float[Array, "samples ..."]) -> Float[Array, " samples"]:
    if inputs.ndim < 2 or inputs.size == 0:
        raise ValueError(f"inputs must hold samples of at least one number, not an array of shape {inputs.shape}")
    if not isinstance(inputs, Tracer):
        bad = np.flatnonzero(~np.isfinite(np.asarray(inputs)).reshape(inputs.shape[0], -1).all(axis=1))
        if bad.size:
            raise ValueError(f"{bad.size} samples have values that are NaN or infinite, the first is {bad[0]}")
    own = pairs.diagonal(inputs)
    if not isinstance(own, Tracer):
        bad = np.flatnonzero(~(np.isfinite(own) & (np.asarray(own) >= 0)))
        if bad.size:
            raise ValueError(
                f"a kernel must be positive semi-definite, but Θ(x, x) of sample {bad[0]} is {float(own[bad[0]]):.3g}"
            )
    return own


def _stacked(array: Array, tile: int, axis: int, *, fill: str) -> Array:
    """The axis of samples as two, tiles × samples of a tile, tiles in front; filled up by "edge" or by "zeros"."""
    count = -(-array.shape[axis] // tile)
    pad = [(0, 0)] * array.ndim
    pad[axis] = (0, count * tile - array.shape[axis])
    padded = jnp.pad(array, pad, mode="edge") if fill == "edge" else jnp.pad(array, pad)
    return jnp.moveaxis(padded.reshape(*array.shape[:axis], count, tile, *array.shape[axis + 1 :]), axis, 0)


def _even(samples: int, tile: int) -> int:
    """The smallest tile that gives as few tiles: as little past the end as there can be."""
    return -(-samples // -(-samples // tile))


def _joined(stacked: Float[Array, "tiles outputs tile"], samples: int) -> Float[Array, "outputs samples"]:
    return jnp.moveaxis(stacked, 0, 1).reshape(stacked.shape[1], -1)[:, :samples]


@eqx.filter_jit
def _applied(kernel: TiledKernel, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
    tile = _even(kernel.samples, kernel.tile)
    x, v = _stacked(kernel.inputs, tile, 0, fill="edge"), _stacked(array, tile, 1, fill="zeros")
    # On the diagonal a tile is symmetric, and half of it is enough for kernels that know it.
    found = lax.map(lambda part: part[1] @ kernel.pairs.own_block(part[0]), (x, v))
    places = np.asarray([(i, j) for i in range(len(x)) for j in range(i + 1, len(x))], np.int32)
    if not places.size:
        return _joined(found, kernel.samples)

    def add(found: Array, place: Int[Array, "2"]) -> tuple[Array, None]:
        i, j = place[0], place[1]
        block = kernel.pairs.block(x[i], x[j])
        return found.at[i].add(v[j] @ block.T).at[j].add(v[i] @ block), None

    found, _ = lax.scan(add, found, jnp.asarray(places))
    return _joined(found, kernel.samples)


@eqx.filter_jit
def _applied_cross(
    kernel: TiledKernel, inputs: Float[Array, "tests ..."], array: Float[Array, "outputs samples"]
) -> Float[Array, "outputs tests"]:
    tile, test_tile = _even(kernel.samples, kernel.tile), _even(inputs.shape[0], kernel.tile)
    x, v = _stacked(kernel.inputs, tile, 0, fill="edge"), _stacked(array, tile, 1, fill="zeros")

    def of_tests(tests: Array) -> Array:
        def add(found: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
            columns, values = part
            return found + values @ kernel.pairs.block(tests, columns).T, None

        return lax.scan(add, jnp.zeros((array.shape[0], test_tile), array.dtype), (x, v))[0]

    return _joined(lax.map(of_tests, _stacked(inputs, test_tile, 0, fill="edge")), inputs.shape[0])
