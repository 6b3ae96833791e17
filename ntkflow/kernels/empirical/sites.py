"""The places where a network's parameters meet its data, and the factors of the gradient at each.

At every such place the gradient of an output f_r with respect to the parameter there is a sum of outer products

    ∂f_r/∂θ = Σ_t δ_{r,t} ⊗ a_t,    δ_r = ∂f_r/∂z,

with a_t what the parameter is multiplied with at position t and z what comes out: t is a pixel for a convolution, a
token for a layer mapped over tokens, and takes one value for a dense layer. A gain or a shift is the case of one
position and a = 1. The factors are kept apart; a kernel contracts them in the order that costs least
(:mod:`ntkflow.kernels.empirical.factors`). A layer and the scales and shifts that its neurons go through next are one
place (:mod:`ntkflow.kernels.empirical.folding`).
"""

from __future__ import annotations

import abc
import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_WIDTH = 16
"""Columns that a matrix product takes at once on a CPU."""


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
class AbstractLayerSite(AbstractSite):
    """A place where every neuron has weights of its own, W_o, and comes out as ⟨W_o, a_t⟩ at every position."""

    @property
    @abc.abstractmethod
    def neuron_axes(self) -> tuple[int, int] | None:
        """The axes of the neurons in W and in z; ``None`` if they are several."""

    @abc.abstractmethod
    def rows(self, weight: Float[Array, "..."]) -> Float[Array, "neurons inputs"]:
        """W_o for all neurons, entries in the order of ``left``."""

    def left_with_one(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs_and_ones"]:
        """[a_t, 1], the 1 more than once where that makes the matrix a fast one."""
        left = self.left(operand)
        return jnp.concatenate([left, jnp.ones((left.shape[0], _ones_after(left.shape[1])), left.dtype)], axis=1)


@dataclasses.dataclass(frozen=True)
class DenseSite(AbstractLayerSite):
    """z = W a or a W, at every position of a.

    Attributes:
        data_first: whether a is the first operand, whose axes come first in z.
        contracted: axes of a.
        order: the axes of W, those of the neurons first, the contracted ones in the order of ``contracted``.
    """

    data_first: bool
    contracted: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def neuron_axes(self) -> tuple[int, int] | None:
        """One axis of W that is not contracted."""
        free = self.order[: -len(self.contracted)] if self.contracted else ()
        return (free[0], len(self.shape) - 1 if self.data_first else 0) if len(free) == 1 else None

    def rows(self, weight: Float[Array, "..."]) -> Float[Array, "neurons inputs"]:
        """W, its neurons first."""
        inputs = math.prod(weight.shape[axis] for axis in self.order[-len(self.contracted) :])
        return weight.transpose(self.order).reshape(-1, inputs)

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
class ConvolutionSite(AbstractLayerSite):
    """z = W ∗ a: a dense layer on the patches of a."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    kernel: tuple[int, ...]
    lhs_spec: tuple[int, ...]
    rhs_spec: tuple[int, ...]
    out_spec: tuple[int, ...]

    @property
    def neuron_axes(self) -> tuple[int, int] | None:
        """Those of the output channels."""
        return self.rhs_spec[0], self.out_spec[1]

    def rows(self, weight: Float[Array, "..."]) -> Float[Array, "neurons inputs"]:
        """Windows of all channels, channels last as in a patch."""
        neuron, channel, *spatial = self.rhs_spec
        return weight.transpose(neuron, *spatial, channel).reshape(weight.shape[neuron], -1)

    def left(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs"]:
        """Patches, made of slices: several times faster on a CPU than ``lax.conv_general_dilated_patches``."""
        return self._patches(operand, with_one=False)

    def left_with_one(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs_and_ones"]:
        """Patches and a 1, written once."""
        return self._patches(operand, with_one=True)

    def _patches(self, operand: Float[Array, "..."], *, with_one: bool) -> Float[Array, "positions _"]:
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
        if with_one:
            slices.append(jnp.ones((*slices[0].shape[:-1], _ones_after(len(slices) * image.shape[-1])), image.dtype))
        patches = jnp.concatenate(slices, axis=-1)
        return patches.reshape(-1, patches.shape[-1])

    def right(self, operand: Float[Array, "..."], delta: Float[Array, "..."]) -> Float[Array, "neurons positions"]:
        """The derivatives of all channels, pixel by pixel."""
        batch, channel, *spatial = self.out_spec
        return delta.transpose(channel, batch, *spatial).reshape(delta.shape[channel], -1)


@dataclasses.dataclass(frozen=True)
class FoldedSite(AbstractSite):
    """y_o = s_o ⟨W_o, a⟩ + l_o: a layer with the scales and shifts that its neurons go through next.

    Attributes:
        layer: W. ``shape`` and the axes are those of its z, before any move of axes.
        others: the parameter arrays in s and l, one entry a neuron.
        with_one: whether ``left`` is [a_t, 1]: then one matrix product gives Σ_t δ_t ⊗ a_t and Σ_t δ_t.
    """

    layer: AbstractLayerSite
    others: tuple[int, ...]
    with_one: bool

    def left(self, operand: Float[Array, "..."]) -> Float[Array, "positions inputs"]:
        """The layer's, as W meets it."""
        return self.layer.left_with_one(operand) if self.with_one else self.layer.left(operand)

    def right(self, operand: Float[Array, "..."], delta: Float[Array, "..."]) -> Float[Array, "neurons positions"]:
        """∂f/∂y."""
        return self.layer.right(operand, delta)


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


def _ones_after(inputs: int) -> int:
    """Products with 145 columns take half as long again as those with 144 or 160."""
    return -inputs % _WIDTH or _WIDTH


def _pad(image: Float[Array, "batch *spatial channels"], padding: tuple[tuple[int, int], ...]) -> Array:
    """Zeros around, or, where the padding is negative, less of the image."""
    image = jnp.pad(image, [(0, 0), *((max(low, 0), max(high, 0)) for low, high in padding), (0, 0)])
    sizes = zip(padding, image.shape[1:-1], strict=True)
    cut = [slice(max(-low, 0), size - max(-high, 0)) for (low, high), size in sizes]
    return image[(slice(None), *cut)]
