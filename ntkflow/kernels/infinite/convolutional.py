"""Kernels of infinitely wide convolutional networks (CNTK), with flattened and with pooled last layers."""

from __future__ import annotations

from typing import Literal, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ntkflow.kernels.infinite.circle import Circle
from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation
from ntkflow.kernels.infinite.kernel_pair import KernelPair
from ntkflow.kernels.infinite.position_pairs import Layers, OneSide, head_sums, own_moments
from ntkflow.kernels.requirements import refuse_not_finite

Head = Literal["flatten", "global average pooling"]
"""What is between the last activation and the dense layer."""

# Bytes of one array over the positions and the pairs of images of a tile. Some ten of them are in use at a time and
# should stay near a core; with half of it the cost of starting loops shows, in float64 by a third.
_BYTES = 300_000


@final
class ConvolutionalKernel(eqx.Module):
    """The limit of infinitely many channels of L convolutions with φ, a head and a dense layer.

    NTK parametrisation: all parameters are drawn from N(0, 1); a convolution of c channels is
    σ_w/√(c q²) Σ W·patch + σ_b b with zero padding and stride 1, and the dense layer σ_w/√features W·a + σ_b b. The
    features are the activations at all positions (flatten), or their means over positions (global average pooling).
    With A the mean over the q² places of a patch, both images' positions shifted together,

    Σ¹ = σ_w² A(⟨x, x'⟩/channels) + σ_b², Θ¹ = Σ¹, Σʰ⁺¹ = σ_w² A(E[φφ]) + σ_b², Θʰ⁺¹ = Σʰ⁺¹ + σ_w² A(Θʰ E[φ'φ']),

    and with a mean over pairs of positions in place of A, the equal ones only for flatten,
    NNGP = σ_w² mean E[φφ] + σ_b² and NTK = NNGP + σ_w² mean Θᴸ E[φ'φ'].

    Pairs of images are computed in tiles, and of each tile one offset of positions at a time: memory does not grow with
    the number of position pairs. Time grows with rows × columns × depth × positions (flatten) or positions² (pooling).

    Args:
        activation: The dual of φ.
        depth: L ≥ 1.
        filter_size: q, odd.
        head: "flatten" or "global average pooling".
        sigma_w: σ_w > 0, √2 by default: for ReLU and σ_b = 0 variances inside an image neither grow nor fall.
        sigma_b: σ_b ≥ 0.

    Raises:
        ValueError: an even filter, a depth below 1, another head, a scale that is negative or not finite.

    Source:
        Arora, Du, Hu, Li, Salakhutdinov, Wang 2019, "On exact computation with an infinitely wide neural net", section
        4, in another convention: docs/theory/infinite-width-convolutional.md.
    """

    activation: AbstractDualActivation
    depth: int = eqx.field(static=True)
    filter_size: int = eqx.field(static=True, default=3)
    head: Head = eqx.field(static=True, default="flatten")
    sigma_w: float = eqx.field(static=True, converter=float, default=2**0.5)
    sigma_b: float = eqx.field(static=True, converter=float, default=0.0)

    def __check_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, not {self.depth}")
        if self.filter_size < 1 or self.filter_size % 2 == 0:
            raise ValueError(f"filter_size must be odd and positive, not {self.filter_size}")
        if self.head not in ("flatten", "global average pooling"):
            raise ValueError(f'head must be "flatten" or "global average pooling", not {self.head!r}')
        if not (np.isfinite(self.sigma_w) and self.sigma_w > 0):
            raise ValueError(f"sigma_w must be positive and finite, not {self.sigma_w}")
        if not (np.isfinite(self.sigma_b) and self.sigma_b >= 0):
            raise ValueError(f"sigma_b must be at least 0 and finite, not {self.sigma_b}")

    def kernels(
        self,
        rows: Float[Array, "rows channels height width"],
        columns: Float[Array, "columns channels height width"] | None = None,
        *,
        tile: int | None = None,
    ) -> KernelPair:
        """Both kernels, in the precision of the images.

        Args:
            rows: Images.
            columns: Images of the same shape; without them those of the rows, and every pair is computed once.
            tile: Pairs of images that are computed at a time; the kernels are the same up to rounding.

        Returns:
            Arrays (rows, columns).

        Raises:
            ValueError: shapes or precisions that disagree, no images, numbers that are not finite, a tile below 1.
        """
        return jax.tree.map(lambda kernel: kernel[-1], self.every_depth(rows, columns, tile=tile))

    def every_depth(
        self,
        rows: Float[Array, "rows channels height width"],
        columns: Float[Array, "columns channels height width"] | None = None,
        *,
        tile: int | None = None,
    ) -> KernelPair:
        """The kernels of the networks of 1, …, L convolutions, at the price of the last one.

        Returns:
            Arrays (depth, rows, columns).

        Raises:
            ValueError: as ``kernels``.
        """
        _check("rows", rows)
        if columns is not None:
            _check("columns", columns)
            if columns.shape[1:] != rows.shape[1:] or columns.dtype != rows.dtype:
                raise ValueError(
                    f"rows and columns must be images of one shape and precision, not {rows.shape[1:]} of {rows.dtype} "
                    f"and {columns.shape[1:]} of {columns.dtype}"
                )
        if tile is not None and tile < 1:
            raise ValueError(f"tile must be at least 1, not {tile}")
        images = rows if columns is None else jnp.concatenate([rows, columns])
        return self._of_pairs(images, *_pairs(len(rows), None if columns is None else len(columns)), tile)

    def diagonals(self, images: Float[Array, "samples channels height width"]) -> KernelPair:
        """Both kernels of every image with itself, (samples,), without the other pairs.

        Raises:
            ValueError: as ``kernels``.
        """
        _check("images", images)
        own = np.arange(len(images))
        return jax.tree.map(lambda kernel: kernel[-1], self._of_pairs(images, own, own, own, None))

    def _of_pairs(
        self,
        images: Float[Array, "images channels height width"],
        left: Int[np.ndarray, " pairs"],
        right: Int[np.ndarray, " pairs"],
        place: Int[np.ndarray, "*entries"],
        tile: int | None,
    ) -> KernelPair:
        """Kernels at all depths of the pairs (left, right), put at their places."""
        # As numbers and not as constants: other scales need no other program, and many pairs no large one.
        scales = jnp.asarray([self.sigma_w**2, self.sigma_b**2], images.dtype)
        circle = Circle(images.shape[2], images.shape[3], self.filter_size // 2)
        if tile is None:
            # As many tiles as it takes, of the same size, which is a multiple of what vector units hold.
            vector = 32 // images.dtype.itemsize
            most = max(16, _BYTES // (circle.size * images.dtype.itemsize) // vector * vector)
            tile = -(-len(left) // -(-len(left) // most))
            tile = -(-tile // vector) * vector
        else:
            tile = min(tile, len(left))
        # The last tile is filled up with the last pair.
        filled = np.minimum(np.arange(-(-len(left) // tile) * tile), len(left) - 1).reshape(-1, tile)
        indices = (jnp.asarray(places) for places in (left[filled], right[filled], place))
        return _kernels(self.activation, self.depth, circle, self.head, scales, images, *indices)


@eqx.filter_jit
def _kernels(
    activation: AbstractDualActivation,
    depth: int,
    circle: Circle,
    head: Head,
    scales: Float[Array, "2"],
    images: Float[Array, "images channels height width"],
    left: Int[Array, "tiles lanes"],
    right: Int[Array, "tiles lanes"],
    place: Int[Array, "*entries"],
) -> KernelPair:
    """Kernels at all depths as one program: of the pairs (left, right) of images, then at their places."""
    weight, bias = scales
    layers = Layers(activation, depth, weight / (2 * circle.reach + 1) ** 2, bias)
    pixels = circle.height * circle.width
    offsets = 1 if head == "flatten" else circle.size
    pairs = pixels if head == "flatten" else pixels**2
    on_circle = circle.embed(jnp.moveaxis(images, 0, -1))
    # Once for every image, so that equal images have equal moments to the last bit, and the gap of equal pixels is 0.
    everything = OneSide(on_circle, own_moments(layers, circle, on_circle))
    squares = jnp.sum(everything.moments.root**2, axis=1)

    def one_tile(chosen: tuple[Int[Array, " lanes"], Int[Array, " lanes"]]) -> KernelPair:
        one, other = (jax.tree.map(lambda of, places=places: of[..., places], everything) for places in chosen)
        sums = head_sums(layers, circle, jnp.arange(offsets), one, other)
        left_squares, right_squares = (squares[:, places] for places in chosen)
        covariance = (left_squares + right_squares) / 2 * offsets - sums.distance
        # Without a single feature in one of them the difference is 0, and not what rounding leaves of it.
        covariance = jnp.where(jnp.minimum(left_squares, right_squares) > 0, covariance, 0.0)
        nngp = weight * covariance / pairs + bias
        return KernelPair(nngp, nngp + weight * sums.tangent / pairs)

    found = lax.map(one_tile, (left, right))
    return jax.tree.map(lambda of: jnp.moveaxis(of, 0, 1).reshape(depth, -1)[:, place], found)


def _pairs(rows: int, columns: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both images of every pair that is computed, numbered rows first, and of every entry of the kernel its pair."""
    if columns is not None:
        left, right = (places.reshape(-1) for places in np.indices((rows, columns)))
        return left, right + rows, np.arange(rows * columns).reshape(rows, columns)
    left, right = np.triu_indices(rows)
    place = np.zeros((rows, rows), int)
    place[left, right] = place[right, left] = np.arange(len(left))
    return left, right, place


def _check(name: str, images: Float[Array, "..."]) -> None:
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"{name} must be (samples, channels, height, width) without empty axes, not {images.shape}")
    if images.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"{name} must be of float32 or float64, not {images.dtype}")
    refuse_not_finite(images, name, remedy="leave such images out")
