"""The networks and inputs whose kernels are timed, as NumPy arrays: every library gets the same numbers.

Images are channels × rows × columns, weights of convolutions outputs × inputs × rows × columns. NumPy only, because the
libraries that are compared live in environments of their own.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

EPSILON = 1e-5
"""Added to variances."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A network, as far as it is numbers, and the inputs of its kernel.

    Attributes:
        parameters: a tree of lists and dictionaries of arrays, what the kernel is a sum over.
        constants: what is no parameter: statistics of normalisations.
        strides: of the first convolution of each residual block; empty for the MLP.
        inputs: one sample a row.
    """

    parameters: Any
    constants: Any
    strides: tuple[int, ...]
    inputs: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is timed, as issue 4 has it unless told otherwise."""

    mlp: tuple[int, ...] = (784, 512, 512, 512, 10)
    mlp_inputs: int = 200
    channels: tuple[int, int, int] = (16, 32, 64)
    blocks: int = 3
    image: int = 28
    classes: int = 10
    resnet_inputs: int = 40


SMOKE = Sizes((12, 9, 8, 7, 3), 5, (4, 8, 16), 1, 8, 4, 4)
"""Small enough to see within seconds that everything runs and agrees.

Not smaller: jaxlib 0.5.3 ends with a segmentation fault in what it compiles of neural-tangents' structured derivatives
at some sizes, (3, 4, 6) channels with 3 classes among them.
"""


def mlp_problem(sizes: Sizes, dtype: str = "float32") -> Problem:
    """A ReLU network whose last hidden layer is the features: a list of {weight, bias}, the readout last.

    Weights from N(0, 2 / inputs), biases from N(0, 0.01), inputs from N(0, 1).
    """
    generator = np.random.default_rng(0)
    layers = [_dense(generator, *pair, dtype) for pair in zip(sizes.mlp[1:], sizes.mlp[:-1], strict=True)]
    inputs = generator.standard_normal((sizes.mlp_inputs, sizes.mlp[0])).astype(dtype)
    return Problem(layers, [], (), inputs)


def resnet_problem(sizes: Sizes, dtype: str = "float32") -> Problem:
    """A residual network of 6·blocks + 2 layers for grey images (He et al. 2015, section 4.2).

    Every convolution is without bias and is normalised by fixed statistics, (z − mean) / √(variance + ε), then scaled
    and shifted by parameters; where channels change, the shortcut is a normalised 1×1 convolution with stride 2. The
    mean over positions gives the features. Gains, shifts and statistics are random, so that none is without effect;
    gains of a block's second normalisation are small, so that the sums over blocks do not grow.
    """
    generator = np.random.default_rng(1)
    constants: dict[str, Any] = {}
    parameters: dict[str, Any] = {"blocks": []}
    parameters["stem"], constants["stem"] = _convolution(generator, sizes.channels[0], 1, 3, 1.0, dtype)
    constants["blocks"], strides, inputs = [], [], sizes.channels[0]
    for stage, outputs in enumerate(sizes.channels):
        for place in range(sizes.blocks):
            strides.append(2 if stage and not place else 1)
            block, statistics = {}, {}
            block["first"], statistics["first"] = _convolution(generator, outputs, inputs, 3, 1.0, dtype)
            block["second"], statistics["second"] = _convolution(generator, outputs, outputs, 3, 0.5, dtype)
            if inputs != outputs or strides[-1] != 1:
                made = _convolution(generator, outputs, inputs, 1, 1.0, dtype)
                block["projection"], statistics["projection"] = made
            parameters["blocks"].append(block)
            constants["blocks"].append(statistics)
            inputs = outputs
    parameters["readout"] = _dense(generator, sizes.classes, inputs, dtype)
    images = generator.standard_normal((sizes.resnet_inputs, 1, sizes.image, sizes.image)).astype(dtype)
    return Problem(parameters, constants, tuple(strides), images)


def _dense(generator: np.random.Generator, outputs: int, inputs: int, dtype: str) -> dict[str, np.ndarray]:
    weight = np.sqrt(2 / inputs) * generator.standard_normal((outputs, inputs))
    return {"weight": weight.astype(dtype), "bias": (0.1 * generator.standard_normal(outputs)).astype(dtype)}


def _convolution(
    generator: np.random.Generator, outputs: int, inputs: int, window: int, gain: float, dtype: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    weight = np.sqrt(2 / (inputs * window**2)) * generator.standard_normal((outputs, inputs, window, window))
    gains = gain * (1 + 0.1 * generator.standard_normal(outputs))
    shift, mean = 0.1 * generator.standard_normal((2, outputs))
    parameters = {"weight": weight, "gain": gains, "shift": shift}
    statistics = {"mean": mean, "variance": generator.uniform(1, 2, outputs)}
    return (
        {name: value.astype(dtype) for name, value in parameters.items()},
        {name: value.astype(dtype) for name, value in statistics.items()},
    )
