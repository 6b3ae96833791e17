"""Densely connected networks with bottlenecks for small images (Huang et al. 2017, section 3)."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks.affine import AbstractAffine
from ntkflow.networks.batch_classifier import AbstractBatchClassifier
from ntkflow.networks.batch_norm import BatchNorm
from ntkflow.networks.classifier import Readout
from ntkflow.networks.convolution import AbstractConvolution, Convolution
from ntkflow.networks.image_input import require_image
from ntkflow.networks.initializers import Initialization, initial_bias, initial_weight
from ntkflow.networks.pooling import average_pool, global_average_pool
from ntkflow.networks.statistics import BatchAxis

_BLOCKS = 3
_BOTTLENECK = 4
"""Channels of a bottleneck, in units of the growth."""


class PreactivatedConvolution(eqx.Module):
    """conv(relu(norm(a))), the convolution without bias.

    Args:
        key: source of the initial weights.
        inputs: channels in.
        outputs: channels out.
        window: height and width of the window, odd.
        initialization: rule of the weights.
        dtype: of all parameters; None is JAX's default.
    """

    norm: BatchNorm
    convolution: AbstractConvolution

    def __init__(
        self,
        key: PRNGKeyArray,
        inputs: int,
        outputs: int,
        window: int,
        *,
        initialization: Initialization,
        dtype: DTypeLike | None,
    ) -> None:
        self.norm = BatchNorm(inputs, dtype=dtype)
        self.convolution = Convolution(
            key, inputs, outputs, window, bias=False, initialization=initialization, dtype=dtype
        )

    def apply(
        self, a: Float[Array, "inputs rows columns"], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, "outputs rows columns"], "PreactivatedConvolution"]:
        """One image, and the layer with its statistics."""
        z, norm = self.norm.apply(a, batch_axis)
        return self.convolution.apply(jax.nn.relu(z), batch_axis), eqx.tree_at(lambda layer: layer.norm, self, norm)


class DenseLayer(eqx.Module):
    """The channels so far, and ``growth`` new ones after them: by a 1×1 convolution to 4·growth, then a 3×3 one."""

    bottleneck: PreactivatedConvolution
    convolution: PreactivatedConvolution

    def __init__(
        self, key: PRNGKeyArray, inputs: int, growth: int, *, initialization: Initialization, dtype: DTypeLike | None
    ) -> None:
        first, second = jax.random.split(key)
        rule = {"initialization": initialization, "dtype": dtype}
        self.bottleneck = PreactivatedConvolution(first, inputs, _BOTTLENECK * growth, 1, **rule)
        self.convolution = PreactivatedConvolution(second, _BOTTLENECK * growth, growth, 3, **rule)

    def apply(
        self, a: Float[Array, "inputs rows columns"], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, "outputs rows columns"], "DenseLayer"]:
        """One image, and the layer with its statistics."""
        narrow, bottleneck = self.bottleneck.apply(a, batch_axis)
        new, convolution = self.convolution.apply(narrow, batch_axis)
        layer = eqx.tree_at(lambda layer: (layer.bottleneck, layer.convolution), self, (bottleneck, convolution))
        return jnp.concatenate([a, new]), layer


class DenseNet(AbstractBatchClassifier):
    """A densely connected network: stem, three blocks with transitions between them, mean over positions, readout.

    Depth 6k + 4 counts the layers with weights: the 3×3 stem, k layers of two convolutions in each block, a 1×1
    convolution in each of the two transitions, the readout. A transition keeps ⌊θ · channels⌋ of the channels, θ the
    compression, and averages 2×2 values. Batch normalisation and ReLU come before each convolution, none of which has a
    bias, and after the last block, so that features are non-negative. The stem has 16 channels without compression and
    twice the growth with it, as in the source.

    Depth 40, growth 12 and 10 classes: parameters for input channels 3 (and 1), and features n:

    | compression θ | parameters | n |
    |---|---|---|
    | 0.5, DenseNet-BC | 176 122 (175 690) | 132 |
    | 1, DenseNet-B | 238 306 (238 018) | 232 |

    Paper 3 says "DenseNet40 with bottleneck layers, growth k = 12" and nothing of compression. The default is 0.5, with
    which the source and most implementations use bottlenecks.

    Args:
        key: source of the initial weights; gains of the normalisations start at 1, shifts at 0.
        input_channels: 1 for grey images, 3 for colours. Inputs have shape (input_channels, rows, columns), at least
            4×4; rows and columns that fill no window of a transition are dropped.
        outputs: number of classes C.
        depth: 10, 16, 22, 28, 34, 40, …
        growth: channels that each layer adds.
        compression: θ, in (0, 1].
        initialization: of the convolutions.
        readout_initialization: of the readout, whose gain is 1 by default.
        dtype: of all arrays; None is JAX's default.

    Raises:
        ValueError: a depth that is not 6k + 4; a compression outside (0, 1], or that leaves no channel.
    """

    stem: AbstractConvolution
    blocks: tuple[tuple[DenseLayer, ...], ...]
    transitions: tuple[PreactivatedConvolution, ...]
    norm: BatchNorm
    readout: AbstractAffine

    def __init__(
        self,
        key: PRNGKeyArray,
        *,
        input_channels: int,
        outputs: int,
        depth: int = 40,
        growth: int = 12,
        compression: float = 0.5,
        initialization: Initialization = "he_normal",
        readout_initialization: Initialization = "lecun_normal",
        dtype: DTypeLike | None = None,
    ) -> None:
        layers, rest = divmod(depth - 4, 2 * _BLOCKS)
        if rest or layers < 1:
            raise ValueError(f"DenseNet: depth must be 6k + 4 (10, 16, 22, …), not {depth}")
        if not 0 < compression <= 1:
            raise ValueError(f"DenseNet: compression must be in (0, 1], not {compression}")
        keys = iter(jax.random.split(key, 1 + _BLOCKS * layers + _BLOCKS))
        rule = {"initialization": initialization, "dtype": dtype}
        size = 16 if compression == 1 else 2 * growth
        self.stem = Convolution(next(keys), input_channels, size, bias=False, **rule)
        blocks, transitions = [], []
        for block in range(_BLOCKS):
            blocks.append(tuple(DenseLayer(next(keys), size + i * growth, growth, **rule) for i in range(layers)))
            size += layers * growth
            if block < _BLOCKS - 1:
                kept = int(compression * size)
                if kept < 1:
                    raise ValueError(f"DenseNet: compression {compression} leaves none of {size} channels")
                transitions.append(PreactivatedConvolution(next(keys), size, kept, 1, **rule))
                size = kept
        self.blocks, self.transitions = tuple(blocks), tuple(transitions)
        self.norm = BatchNorm(size, dtype=dtype)
        readout_key = next(keys)
        self.readout = Readout(
            initial_weight(readout_key, (outputs, size), readout_initialization, dtype),
            initial_bias(readout_key, (outputs, size), readout_initialization, dtype),
        )

    @property
    def depth(self) -> int:
        """Layers with weights."""
        return 2 * sum(map(len, self.blocks)) + len(self.transitions) + 2

    def apply(
        self, x: Float[Array, "..."], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, " features"], "DenseNet"]:
        """Features of one image, and the network with the statistics that were used.

        Raises:
            ValueError: x has not the shape (input_channels, rows, columns), is below 4×4, or has another dtype than the
                network.
        """
        require_image("DenseNet", x, self.stem.weight)
        a = self.stem.apply(x, batch_axis)
        blocks, transitions = [], []
        for index, block in enumerate(self.blocks):
            layers = []
            for layer in block:
                a, used = layer.apply(a, batch_axis)
                layers.append(used)
            blocks.append(tuple(layers))
            if index < len(self.transitions):
                a, used = self.transitions[index].apply(a, batch_axis)
                a = average_pool(a, 2)
                transitions.append(used)
        z, norm = self.norm.apply(a, batch_axis)
        network = eqx.tree_at(
            lambda net: (net.blocks, net.transitions, net.norm), self, (tuple(blocks), tuple(transitions), norm)
        )
        return global_average_pool(jax.nn.relu(z)), network
