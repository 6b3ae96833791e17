"""Networks that a scenario names, with their initial weights."""

from __future__ import annotations

import math
from typing import overload

from jax.typing import DTypeLike
from jaxtyping import PRNGKeyArray

from ntkflow import scenario as schema
from ntkflow.errors import DataError
from ntkflow.networks import MLP, VGG, AbstractBatchClassifier, AbstractClassifier, DenseNet, ResNet

_SMALLEST_DENSENET = 4
"""Rows and columns, which its two transitions halve."""


@overload
def make_network(
    section: schema.MLP,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    key: PRNGKeyArray,
    dtype: DTypeLike | None = None,
) -> MLP: ...
@overload
def make_network(
    section: schema.ResNet | schema.VGG | schema.DenseNet,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    key: PRNGKeyArray,
    dtype: DTypeLike | None = None,
) -> AbstractBatchClassifier: ...
def make_network(
    section: schema.MLP | schema.ResNet | schema.VGG | schema.DenseNet,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    key: PRNGKeyArray,
    dtype: DTypeLike | None = None,
) -> AbstractClassifier:
    """The network of a scenario with its initial weights, as wide at both ends as the data.

    Args:
        section: which network.
        input_shape: of one sample; (channels, rows, columns) for every kind but ``mlp``, which flattens it.
        classes: number of classes C.
        key: source of the initial weights.
        dtype: of all parameters; None is JAX's default.

    Raises:
        DataError: samples that are no images, or too small ones, for a network that needs them.
    """
    if isinstance(section, schema.MLP):
        named = section.sigma_w is None
        return MLP(
            key,
            inputs=math.prod(input_shape),
            outputs=classes,
            widths=section.hidden_widths,
            features=section.features,
            activation=section.activation,
            initialization=section.initialization if named else None,
            readout_initialization=section.readout_initialization if named else None,
            parametrization=section.parametrization,
            sigma_w=section.sigma_w,
            sigma_b=None if named else section.sigma_b,
            dtype=dtype,
        )
    if len(input_shape) != 3:
        raise DataError(
            f"a {section.kind} needs images, and inputs are of shape {input_shape} each",
            place="network.kind",
            remedy="Give inputs of shape (channels, rows, columns), or take kind: mlp.",
        )
    match section:
        case schema.ResNet():
            first, second, third = section.channels
            return ResNet(
                key,
                input_channels=input_shape[0],
                outputs=classes,
                depth=section.depth,
                channels=(first, second, third),
                shortcut=section.shortcut,
                initialization=section.initialization,
                readout_initialization=section.readout_initialization,
                dtype=dtype,
            )
        case schema.VGG():
            one, two, three, four, five = section.channels
            first, second = section.head
            return VGG(
                key,
                input_channels=input_shape[0],
                outputs=classes,
                depth=section.depth,
                channels=(one, two, three, four, five),
                head=(first, second),
                initialization=section.initialization,
                readout_initialization=section.readout_initialization,
                dtype=dtype,
            )
        case schema.DenseNet():
            if min(input_shape[1:]) < _SMALLEST_DENSENET:
                raise DataError(
                    f"a densenet halves images twice, and inputs of shape {input_shape} are too small for that",
                    place="network.kind",
                    remedy="Give images of at least 4×4, or take kind: mlp, resnet or vgg.",
                )
            return DenseNet(
                key,
                input_channels=input_shape[0],
                outputs=classes,
                depth=section.depth,
                growth=section.growth,
                compression=section.compression,
                initialization=section.initialization,
                readout_initialization=section.readout_initialization,
                dtype=dtype,
            )
