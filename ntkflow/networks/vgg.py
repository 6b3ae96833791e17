"""VGG networks with batch normalisation for small images (Simonyan & Zisserman 2015; paper 3, section 6)."""

from __future__ import annotations

from itertools import pairwise

import equinox as eqx
import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks.affine import AbstractAffine
from ntkflow.networks.batch_classifier import AbstractBatchClassifier
from ntkflow.networks.classifier import Readout
from ntkflow.networks.convolution import NormalizedConvolution
from ntkflow.networks.image_input import require_image
from ntkflow.networks.initializers import Initialization, initial_bias, initial_weight
from ntkflow.networks.normalized_dense import NormalizedDense
from ntkflow.networks.pooling import global_average_pool, max_pool
from ntkflow.networks.statistics import BatchAxis

_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""In each of the five stages: columns A, B, D, E of the source's table 1."""


class VGG(AbstractBatchClassifier):
    """A VGG network: five stages of 3×3 convolutions, each ended by maximum pooling, two dense layers, readout.

    Depth counts the layers with weights: convolutions, the two dense layers of the head, the readout. Every convolution
    and every dense layer of the head is without bias and is followed by batch normalisation and ReLU; the readout is
    plain, as the theory's W h + b. So the features are non-negative, n = head[-1].

    Pooling takes the largest of 2×2 values, of fewer at the edge where a size is odd, so that every size works: 28 → 14
    → 7 → 4 → 2 → 1 and 32 → 16 → 8 → 4 → 2 → 1. What is left of images above 32×32 is averaged over positions.

    Parameters with the papers' sizes and 10 classes, for input channels 3 (and 1):

    | depth | parameters |
    |---|---|
    | 11 | 9 620 554 (9 619 402) |
    | 13 | 9 805 258 (9 804 106) |
    | 16 | 15 116 234 (15 115 082) |
    | 19 | 20 427 210 (20 426 058) |

    Args:
        key: source of the initial weights; gains of the normalisations start at 1, shifts at 0.
        input_channels: 1 for grey images, 3 for colours. Inputs have shape (input_channels, rows, columns).
        outputs: number of classes C.
        depth: 11, 13, 16 or 19.
        channels: of the five stages.
        head: neurons of the two dense layers; the last is the number of features n.
        initialization: of the convolutions and of the head's dense layers.
        readout_initialization: of the readout, whose gain is 1 by default.
        dtype: of all arrays; None is JAX's default.

    Raises:
        ValueError: another depth.
    """

    stages: tuple[tuple[NormalizedConvolution, ...], ...]
    head: tuple[NormalizedDense, ...]
    readout: AbstractAffine

    def __init__(
        self,
        key: PRNGKeyArray,
        *,
        input_channels: int,
        outputs: int,
        depth: int = 11,
        channels: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512),
        head: tuple[int, int] = (512, 256),
        initialization: Initialization = "he_normal",
        readout_initialization: Initialization = "lecun_normal",
        dtype: DTypeLike | None = None,
    ) -> None:
        if depth not in _CONVOLUTIONS:
            raise ValueError(f"VGG: depth must be one of {', '.join(map(str, _CONVOLUTIONS))}, not {depth}")
        keys = iter(jax.random.split(key, depth))
        rule = {"initialization": initialization, "dtype": dtype}
        size = input_channels
        stages = []
        for count, wanted in zip(_CONVOLUTIONS[depth], channels, strict=True):
            sizes = [size, *[wanted] * count]
            stages.append(tuple(NormalizedConvolution(next(keys), *pair, **rule) for pair in pairwise(sizes)))
            size = wanted
        self.stages = tuple(stages)
        self.head = tuple(NormalizedDense(next(keys), *pair, **rule) for pair in pairwise((size, *head)))
        shape = (outputs, head[-1])
        readout_key = next(keys)
        self.readout = Readout(
            initial_weight(readout_key, shape, readout_initialization, dtype),
            initial_bias(readout_key, shape, readout_initialization, dtype),
        )

    @property
    def depth(self) -> int:
        """Layers with weights."""
        return sum(map(len, self.stages)) + len(self.head) + 1

    def apply(self, x: Float[Array, "..."], batch_axis: BatchAxis | None) -> tuple[Float[Array, " features"], "VGG"]:
        """Features of one image, and the network with the statistics that were used.

        Raises:
            ValueError: x has not the shape (input_channels, rows, columns), or another dtype than the network.
        """
        require_image("VGG", x, self.stages[0][0].convolution.weight)
        a, stages = x, []
        for stage in self.stages:
            layers = []
            for layer in stage:
                z, used = layer.apply(a, batch_axis)
                a = jax.nn.relu(z)
                layers.append(used)
            a = max_pool(a, 2, partial=True)
            stages.append(tuple(layers))
        a, head = global_average_pool(a), []
        for layer in self.head:
            z, used = layer.apply(a, batch_axis)
            a = jax.nn.relu(z)
            head.append(used)
        return a, eqx.tree_at(lambda net: (net.stages, net.head), self, (tuple(stages), tuple(head)))
