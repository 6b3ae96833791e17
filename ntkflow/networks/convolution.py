"""Convolutional layers of two-dimensional images."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks.batch_norm import BatchNorm
from ntkflow.networks.channel_order import channels_first, channels_last
from ntkflow.networks.initializers import Initialization, initial_bias, initial_weight
from ntkflow.networks.statistics import BatchAxis


class AbstractConvolution(eqx.Module):
    """A convolutional layer, however it is computed: see :class:`Convolution` for the fields."""

    weight: eqx.AbstractVar[Float[Array, "outputs inputs height width"]]
    bias: eqx.AbstractVar[Float[Array, " outputs"] | None]
    stride: eqx.AbstractVar[int]
    padding: eqx.AbstractVar[int]

    @abc.abstractmethod
    def apply(
        self, a: Float[Array, "inputs rows columns"], batch_axis: BatchAxis | None
    ) -> Float[Array, "outputs new_rows new_columns"]:
        """Pre-activations of one image, for a pass over a whole batch where ``batch_axis`` says so."""


class Convolution(AbstractConvolution):
    """A convolutional layer z_o(r) = Σ_{i,s} W_{o,i}(s) a_i(stride·r + s − padding) + b_o, without flipping the window.

    Zeros are padded on all four sides alike, as PyTorch does. (The padding "SAME" of Flax and TensorFlow is another one
    at stride 2 and even sizes: it pads 0 before and 1 after.)

    Args:
        key: source of the initial weights.
        inputs: channels in.
        outputs: channels out.
        window: height and width of the window.
        stride: step between positions.
        padding: rows and columns of zeros on each side; None is (window − 1)/2, which at stride 1 keeps the size.
        bias: whether there is b; a layer that is normalised next needs none.
        initialization: rule of W and b.
        dtype: of W and b; None is JAX's default.

    Raises:
        ValueError: an even window without explicit padding.
    """

    weight: Float[Array, "outputs inputs height width"]
    bias: Float[Array, " outputs"] | None
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        inputs: int,
        outputs: int,
        window: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        initialization: Initialization = "he_normal",
        dtype: DTypeLike | None = None,
    ) -> None:
        if padding is None:
            if window % 2 == 0:
                raise ValueError(f"Convolution: a window of {window} has no middle; give its padding")
            padding = (window - 1) // 2
        shape = (outputs, inputs, window, window)
        self.weight = initial_weight(key, shape, initialization, dtype)
        self.bias = initial_bias(key, shape, initialization, dtype) if bias else None
        self.stride = stride
        self.padding = padding

    def __call__(self, a: Float[Array, "inputs rows columns"]) -> Float[Array, "outputs new_rows new_columns"]:
        """Pre-activations of one image."""
        z = jax.lax.conv_general_dilated(
            a[None], self.weight, (self.stride, self.stride), [(self.padding, self.padding)] * 2
        )[0]
        return z if self.bias is None else z + self.bias[:, None, None]

    def apply(
        self, a: Float[Array, "inputs rows columns"], batch_axis: BatchAxis | None
    ) -> Float[Array, "outputs new_rows new_columns"]:
        """The same function of one image, for a pass over a whole batch where ``batch_axis`` says so.

        In a vmap over a batch it is traced with channels last, 1×1 windows as matrix products. On CPUs XLA's
        convolutions want channels last, and every one that is not gets copies of its images before and after it; on
        GPUs the compiler chooses the layout itself.
        """
        if batch_axis is None:
            return self(a)
        return channels_first(self._channels_last(channels_last(a)))

    def _channels_last(self, a: Float[Array, "rows columns inputs"]) -> Float[Array, "new_rows new_columns outputs"]:
        stride, padding = self.stride, self.padding
        if self.weight.shape[2:] == (1, 1) and padding == 0:
            z = a[::stride, ::stride] @ self.weight[:, :, 0, 0].T
        else:
            z = jax.lax.conv_general_dilated(
                a[None],
                jnp.transpose(self.weight, (2, 3, 1, 0)),
                (stride, stride),
                [(padding, padding)] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )[0]
        return z if self.bias is None else z + self.bias


class ProductConvolution(AbstractConvolution):
    """A :class:`Convolution` computed as one matrix product over all windows, written out."""

    weight: Float[Array, "outputs inputs height width"]
    bias: Float[Array, " outputs"] | None
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __init__(self, convolution: Convolution) -> None:
        self.weight, self.bias = convolution.weight, convolution.bias
        self.stride, self.padding = convolution.stride, convolution.padding

    def apply(
        self, a: Float[Array, "inputs rows columns"], batch_axis: BatchAxis | None
    ) -> Float[Array, "outputs new_rows new_columns"]:
        """The same with and without a batch."""
        weight = jnp.transpose(self.weight, (2, 3, 1, 0))
        z = self._windows(channels_last(a)) @ weight.reshape(-1, weight.shape[-1])
        return channels_first(z if self.bias is None else z + self.bias)

    def _windows(self, a: Float[Array, "rows columns inputs"]) -> Float[Array, "new_rows new_columns taps"]:
        """What every position sees: the window's places, row by row, and at each all channels."""
        stride, padding = self.stride, self.padding
        height, width = self.weight.shape[2:]
        padded = jnp.pad(a, ((padding, padding), (padding, padding), (0, 0)))
        rows, columns = padded.shape[0] - height + 1, padded.shape[1] - width + 1
        shifted = [padded[y : y + rows : stride, x : x + columns : stride] for y in range(height) for x in range(width)]
        return jnp.concatenate(shifted, axis=-1)


def with_product_convolutions(network: Any) -> Any:
    """The network with every :class:`Convolution` as a :class:`ProductConvolution`: the same function and parameters.

    On CPUs, XLA runs a convolution inside a compiled loop several times slower than outside, and matrix products alike
    (docs/benchmarks.md). They take the memory of height × width copies of the images. Layers of Equinox stay as they
    are.
    """

    def is_layer(node: Any) -> bool:
        return isinstance(node, Convolution | ProductConvolution)

    return jax.tree.map(
        lambda node: ProductConvolution(node) if isinstance(node, Convolution) else node, network, is_leaf=is_layer
    )


class NormalizedConvolution(eqx.Module):
    """A convolution without bias, then batch normalisation.

    Args:
        key: source of the initial weights.
        inputs: channels in.
        outputs: channels out.
        window: height and width of the window, odd.
        stride: step between positions.
        initialization: rule of the weights.
        dtype: of all parameters; None is JAX's default.
    """

    convolution: AbstractConvolution
    norm: BatchNorm

    def __init__(
        self,
        key: PRNGKeyArray,
        inputs: int,
        outputs: int,
        window: int = 3,
        *,
        stride: int = 1,
        initialization: Initialization = "he_normal",
        dtype: DTypeLike | None = None,
    ) -> None:
        self.convolution = Convolution(
            key, inputs, outputs, window, stride=stride, bias=False, initialization=initialization, dtype=dtype
        )
        self.norm = BatchNorm(outputs, dtype=dtype)

    def apply(
        self, a: Float[Array, "inputs rows columns"], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, "outputs new_rows new_columns"], "NormalizedConvolution"]:
        """One image, normalised as :meth:`ntkflow.networks.BatchNorm.apply` says, and the layer with its statistics."""
        z, norm = self.norm.apply(self.convolution.apply(a, batch_axis), batch_axis)
        return z, eqx.tree_at(lambda layer: layer.norm, self, norm)
