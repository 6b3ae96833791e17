"""A network that an earlier run left in a file."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import equinox as eqx
import jax
from pydantic import TypeAdapter, ValidationError

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.errors import CheckpointError
from ntkflow.experiments.networks import make_network
from ntkflow.networks import AbstractClassifier, in_precision, load_checkpoint, read_header

_BUILT: TypeAdapter[schema.BuiltNetwork] = TypeAdapter(schema.BuiltNetwork)
_PRECISIONS = ("float64", "float32")


@dataclasses.dataclass(frozen=True)
class StoredNetwork:
    """A network from a file, in float64 whatever it was trained in.

    Attributes:
        origin: which file, and after how many steps, in words.
        network: its parameters, and the statistics of its normalisation layers, are the file's own numbers: every
            float32 is a float64.
        built: the part of a scenario that builds such a network.
        step: training steps that it has behind it.
        dataset: the data with inputs in the shape that the network takes.
    """

    origin: str
    network: AbstractClassifier
    built: schema.BuiltNetwork
    step: int
    dataset: Dataset


def stored_network(name: str, dataset: Dataset, folder: Path) -> StoredNetwork:
    """Read a ``network.ckpt`` or a snapshot of a run, and check that it is for these data.

    Args:
        name: path of the file as the scenario has it.
        dataset: the scenario's data.
        folder: where relative paths start.

    Raises:
        CheckpointError: a file that is damaged, or holds no network for these data.
        DataError: samples that are no images, for a network that needs them.
    """
    path = folder / name
    header = read_header(path)
    precision = header.details.get("precision", _PRECISIONS[0])
    try:
        built = _BUILT.validate_python(header.details.get("network"))
    except ValidationError:
        built = None
    if built is None or precision not in _PRECISIONS:
        raise CheckpointError(
            "does not say how its network is built, or says what this version does not know",
            place=str(path),
            remedy="Give the network.ckpt of a kernel scenario with checkpoint: {save: true}, or the network.ckpt or a "
            "snapshot of a training scenario.",
        )
    if not isinstance(built, schema.MLP):
        dataset = dataset.as_images()
    like = eqx.filter_eval_shape(
        lambda: make_network(
            built,
            input_shape=dataset.inputs.shape[1:],
            classes=dataset.classes,
            key=jax.random.key(0),
            dtype=precision,
        )
    )
    try:
        network, _ = load_checkpoint(path, like)
    except CheckpointError as error:
        shape = dataset.inputs.shape[1:]
        raise CheckpointError(
            error.what,
            place=error.place,
            remedy=f"The data of this scenario have {dataset.classes} classes and inputs of shape {shape}, "
            f"{math.prod(shape)} numbers each; take those that the network was made for.",
        ) from None
    origin = f"The network of {name}, saved at step {header.step}"
    if precision != "float64":
        origin += f" of training in {precision}, from here on in float64"
    return StoredNetwork(origin, in_precision(network, "float64"), built, header.step, dataset)
