"""The places where a network's parameters meet its data, and the factors of the gradient at each.

At every such place the gradient of an output f_r with respect to the parameter there is a sum of outer products

    ∂f_r/∂θ = Σ_t δ_{r,t} ⊗ a_t,    δ_r = ∂f_r/∂z,

with a_t what the parameter is multiplied with at position t and z what comes out: t is a pixel for a convolution, a
token for a layer mapped over tokens, and takes one value for a dense layer. A gain or a shift is the case of one
position and a = 1. The factors are kept apart; a kernel contracts them in the order that costs least
(:mod:`ntkflow.kernels.empirical.factors`).
"""

from __future__ import annotations

import abc
import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class AbstractSite(abc.ABC):
    """One place where one parameter array is used, and that array is used nowhere else.

    Attributes:
        leaf: which parameter array, counted over the leaves of the network's parameters.
        shape: of what comes out, z.
    """

    leaf: int
    shape: tuple[int, ...]

    @abc.abstractmethod
    def left(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs"]:
        """a_t, from what the parameter was combined with."""

    @abc.abstractmethod
    def right(self, operand: Float[Array, "..."], delta: Float[Array, "..."]) -> Float[Array, "neurons positions"]:
        """δ_t, from the derivative with respect to z."""


@dataclasses.dataclass(frozen=True)
class DenseSite(AbstractSite):
    """z = W a or a W, at every position of a."""

    data_first: bool
    contracted: tuple[int, ...]

    def left(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs"]:
        """The positions' inputs."""
        kept = [axis for axis in range(operand.ndim) if axis not in self.contracted]
        inputs = math.prod(operand.shape[axis] for axis in self.contracted)
        return operand.transpose(*kept, *self.contracted).reshape(-1, inputs)

    def right(self, operand: Float[Array, "..."], delta: Float[Array, "..."]) -> Float[Array, "neurons positions"]:
        """The positions' derivatives; a dot product puts its first operand's axes first."""
        positions = math.prod(size for axis, size in enumerate(operand.shape) if axis not in self.contracted)
        return delta.reshape(positions, -1).T if self.data_first else delta.reshape(-1, positions)


@dataclasses.dataclass(frozen=True)
class ConvolutionSite(AbstractSite):
    """z = W ∗ a: a dense layer on the patches of a."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    kernel: tuple[int, ...]
    lhs_spec: tuple[int, ...]
    out_spec: tuple[int, ...]

    def left(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs"]:
        """Patches, made of slices: several times faster on a CPU than ``lax.conv_general_dilated_patches``."""
        batch, channel, *spatial = self.lhs_spec
        image = operand.transpose(batch, *spatial, channel)
        image = _pad(image, self.padding)
        out_spatial = [self.shape[axis] for axis in self.out_spec[2:]]
        slices = []
        for offset in np.ndindex(*self.kernel):
            window = [slice(None)]
            for start, spacing, stride, size in zip(offset, self.dilation, self.strides, out_spatial, strict=True):
                first = start * spacing
                window.append(slice(first, first + stride * (size - 1) + 1, stride))
            slices.append(image[tuple(window)])
        return jnp.concatenate(slices, axis=-1).reshape(-1, len(slices) * image.shape[-1])

    def right(self, operand: Float[Array, "..."], delta: Float[Array, "..."]) -> Float[Array, "neurons positions"]:
        """The derivatives of all channels, pixel by pixel."""
        batch, channel, *spatial = self.out_spec
        return delta.transpose(channel, batch, *spatial).reshape(delta.shape[channel], -1)


@dataclasses.dataclass(frozen=True)
class ShiftSite(AbstractSite):
    """z = a + θ, θ repeated along some axes: a bias."""

    repeated: tuple[int, ...]

    def left(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs"]:
        """The factor that θ was multiplied with on its way, 1 as a rule."""
        return operand.reshape(1, 1)

    def right(self, operand: Float[Array, "..."], delta: Float[Array, "..."]) -> Float[Array, "neurons positions"]:
        """The derivative, summed where θ was repeated."""
        return delta.sum(self.repeated).reshape(-1, 1)


@dataclasses.dataclass(frozen=True)
class GainSite(AbstractSite):
    """z = a ∘ θ, θ repeated along some axes: the gain of a normalisation layer."""

    repeated: tuple[int, ...]

    def left(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs"]:
        """1: the data are in the other factor."""
        return jnp.ones((1, 1), operand.dtype)

    def right(self, operand: Float[Array, "..."], delta: Float[Array, "..."]) -> Float[Array, "neurons positions"]:
        """a ∘ ∂f/∂z, summed where θ was repeated."""
        return (operand * delta).sum(self.repeated).reshape(-1, 1)


def _pad(image: Float[Array, "batch *spatial channels"], padding: tuple[tuple[int, int], ...]) -> Array:
    """Zeros around, or, where the padding is negative, less of the image."""
    image = jnp.pad(image, [(0, 0), *((max(low, 0), max(high, 0)) for low, high in padding), (0, 0)])
    sizes = zip(padding, image.shape[1:-1], strict=True)
    cut = [slice(max(-low, 0), size - max(-high, 0)) for (low, high), size in sizes]
    return image[(slice(None), *cut)]
