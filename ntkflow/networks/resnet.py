"""Residual networks for small images (He et al. 2015b, section 4.2)."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks.affine import AbstractAffine
from ntkflow.networks.batch_classifier import AbstractBatchClassifier
from ntkflow.networks.channel_order import relu_of_sum
from ntkflow.networks.classifier import Readout
from ntkflow.networks.convolution import NormalizedConvolution
from ntkflow.networks.image_input import require_image
from ntkflow.networks.initializers import Initialization, initial_bias, initial_weight
from ntkflow.networks.pooling import global_average_pool
from ntkflow.networks.statistics import BatchAxis

Shortcut = Literal["projection", "padding"]
"""What a block adds where sizes change: ``projection`` (option B), a strided 1×1 convolution, normalised; ``padding``
(option A), every second row and column, zeros for the new channels."""


class ResidualBlock(eqx.Module):
    """relu(norm(conv(relu(norm(conv(a))))) + shortcut(a)), two 3×3 convolutions."""

    first: NormalizedConvolution
    second: NormalizedConvolution
    projection: NormalizedConvolution | None

    def __init__(
        self,
        key: PRNGKeyArray,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        shortcut: Shortcut,
        initialization: Initialization,
        dtype: DTypeLike | None,
    ) -> None:
        first, second, projection = jax.random.split(key, 3)
        rule = {"initialization": initialization, "dtype": dtype}
        self.first = NormalizedConvolution(first, inputs, outputs, stride=stride, **rule)
        self.second = NormalizedConvolution(second, outputs, outputs, **rule)
        changes = stride != 1 or inputs != outputs
        self.projection = (
            NormalizedConvolution(projection, inputs, outputs, 1, stride=stride, **rule)
            if changes and shortcut == "projection"
            else None
        )

    def apply(
        self, a: Float[Array, "inputs rows columns"], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, "outputs new_rows new_columns"], "ResidualBlock"]:
        """One image, and the block with its statistics."""
        z, first = self.first.apply(a, batch_axis)
        z, second = self.second.apply(relu_of_sum(z, batch_axis=batch_axis), batch_axis)
        if self.projection is None:
            stride, outputs = self.first.convolution.stride, z.shape[0]
            # Half of the zeros before, half after, as in the PyTorch implementations whose weights are about.
            before = (outputs - a.shape[0]) // 2
            after = outputs - a.shape[0] - before
            residual, projection = jnp.pad(a[:, ::stride, ::stride], ((before, after), (0, 0), (0, 0))), None
        else:
            residual, projection = self.projection.apply(a, batch_axis)
        block = eqx.tree_at(
            lambda block: (block.first, block.second, block.projection),
            self,
            (first, second, projection),
            is_leaf=lambda node: node is None,
        )
        return relu_of_sum(z, residual, batch_axis=batch_axis), block


class ResNet(AbstractBatchClassifier):
    """A residual network for small images: stem, three stages of k blocks, mean over positions, readout.

    Depth 6k + 2 counts the layers with weights: the 3×3 stem, 2k convolutions in each stage, the readout. The first
    block of the second and of the third stage halves rows and columns. Every convolution is without bias, and batch
    normalisation follows it; the last block's ReLU gives non-negative features, n = channels[2].

    Parameters with channels (16, 32, 64) and 10 classes, for input channels 3 (and 1):

    | depth | shortcut ``projection`` | shortcut ``padding`` |
    |---|---|---|
    | 8 | 78 042 (77 754) | 75 290 (75 002) |
    | 20 | 272 474 (272 186) | 269 722 (269 434) |
    | 32 | 466 906 (466 618) | 464 154 (463 866) |
    | 56 | 855 770 (855 482) | 853 018 (852 730) |

    The paper used ``padding``, its option A; ``projection``, option B, is what most later implementations do.

    Args:
        key: source of the initial weights; gains of the normalisations start at 1, shifts at 0.
        input_channels: 1 for grey images, 3 for colours. Inputs have shape (input_channels, rows, columns).
        outputs: number of classes C.
        depth: 8, 14, 20, 32, 44, 56, …
        channels: of the three stages.
        shortcut: what a block adds where sizes change, :data:`ntkflow.networks.Shortcut`.
        initialization: of the convolutions.
        readout_initialization: of the readout, whose gain is 1 by default.
        dtype: of all arrays; None is JAX's default.

    Raises:
        ValueError: a depth that is not 6k + 2; ``padding`` with fewer channels than the stage before.
    """

    stem: NormalizedConvolution
    blocks: tuple[ResidualBlock, ...]
    readout: AbstractAffine

    def __init__(
        self,
        key: PRNGKeyArray,
        *,
        input_channels: int,
        outputs: int,
        depth: int = 20,
        channels: tuple[int, int, int] = (16, 32, 64),
        shortcut: Shortcut = "projection",
        initialization: Initialization = "he_normal",
        readout_initialization: Initialization = "lecun_normal",
        dtype: DTypeLike | None = None,
    ) -> None:
        per_stage, rest = divmod(depth - 2, 6)
        if rest or per_stage < 1:
            raise ValueError(f"ResNet: depth must be 6k + 2 (8, 14, 20, …), not {depth}")
        if shortcut == "padding" and sorted(channels) != list(channels):
            raise ValueError(
                f"ResNet: channels {channels} shrink, which shortcut 'padding' cannot do; take 'projection'"
            )
        stem_key, readout_key, *keys = jax.random.split(key, 2 + 3 * per_stage)
        self.stem = NormalizedConvolution(
            stem_key, input_channels, channels[0], initialization=initialization, dtype=dtype
        )
        sizes = [channels[0], *(size for size in channels for _ in range(per_stage))]
        self.blocks = tuple(
            ResidualBlock(
                block_key,
                sizes[i],
                sizes[i + 1],
                stride=2 if i in (per_stage, 2 * per_stage) else 1,
                shortcut=shortcut,
                initialization=initialization,
                dtype=dtype,
            )
            for i, block_key in enumerate(keys)
        )
        shape = (outputs, channels[2])
        self.readout = Readout(
            initial_weight(readout_key, shape, readout_initialization, dtype),
            initial_bias(readout_key, shape, readout_initialization, dtype),
        )

    @property
    def depth(self) -> int:
        """Layers with weights, projections not counted."""
        return 2 * len(self.blocks) + 2

    def apply(self, x: Float[Array, "..."], batch_axis: BatchAxis | None) -> tuple[Float[Array, " features"], "ResNet"]:
        """Features of one image, and the network with the statistics that were used.

        Raises:
            ValueError: x has not the shape (input_channels, rows, columns), or another dtype than the network.
        """
        require_image("ResNet", x, self.stem.convolution.weight)
        z, stem = self.stem.apply(x, batch_axis)
        a = relu_of_sum(z, batch_axis=batch_axis)
        blocks = []
        for block in self.blocks:
            a, used = block.apply(a, batch_axis)
            blocks.append(used)
        network = eqx.tree_at(lambda net: (net.stem, net.blocks), self, (stem, tuple(blocks)))
        return global_average_pool(a), network
