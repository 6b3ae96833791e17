"""The networks of tests/oracles/pytorch built with ntkflow, and what PyTorch computed for them."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from networks.plain_resnet import norms
from oracles.pytorch.recipe import CLASSES, Case, Role, draw

from ntkflow.networks import VGG, AbstractBatchClassifier, DenseNet, ResNet, Statistics

HERE = Path(__file__).parents[1] / "oracles" / "pytorch"
KINDS: dict[str, type] = {"vgg": VGG, "resnet": ResNet, "densenet": DenseNet}


@functools.cache
def recorded() -> dict[str, Any]:
    return json.loads((HERE / "values.json").read_text())


@functools.cache
def outputs(name: str) -> dict[str, np.ndarray]:
    """Of one case, by ``MODE/WHAT/PRECISION``; one row a sample."""
    with np.load(HERE / "outputs.npz") as archive:
        return {key.removeprefix(f"{name}/"): archive[key] for key in archive if key.startswith(f"{name}/")}


def shapes(kind: str, channels: int, options: dict[str, Any], dtype: DTypeLike | None = None) -> Any:
    """The network without its numbers."""
    return eqx.filter_eval_shape(
        lambda: KINDS[kind](jax.random.key(0), input_channels=channels, outputs=CLASSES, dtype=dtype, **options)
    )


def is_parameter(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def count(network: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(network) if is_parameter(leaf))


def in_order(network: Any) -> list[int]:
    """Which leaves are parameters, in the order of the layers; trees have the readout, a base class's field, first."""
    paths = jax.tree_util.tree_leaves_with_path(network)
    places = [index for index, (_, leaf) in enumerate(paths) if is_parameter(leaf)]
    return sorted(places, key=lambda index: paths[index][0][0].name == "readout")


def filled(case: Case, dtype: DTypeLike) -> AbstractBatchClassifier:
    """The network with every parameter and every statistic drawn from the recipe."""
    network = shapes(case.kind, case.image[0], case.options, dtype)
    paths, structure = jax.tree_util.tree_flatten_with_path(network)
    places = in_order(network)
    wanted: list[tuple[Role, tuple[int, ...]]] = [(_role(paths[i][0]), paths[i][1].shape) for i in places]
    layers = norms(network)
    for norm in layers:
        channels = norm.gain.shape
        wanted += [("mean", channels), ("variance", channels)]
    values = [jnp.asarray(value, dtype) for value in draw(case.seed, wanted)]
    leaves = [leaf for _, leaf in paths]
    for place, value in zip(places, values, strict=False):
        leaves[place] = value
    statistics = values[len(places) :]
    return eqx.tree_at(
        lambda net: [norm.statistics for norm in norms(net)],
        jax.tree.unflatten(structure, leaves),
        [Statistics(mean, variance, 2) for mean, variance in zip(statistics[::2], statistics[1::2], strict=True)],
    )


def _role(path: tuple[Any, ...]) -> Role:
    name = path[-1].name
    assert name in ("weight", "gain", "shift", "bias")
    return name


@eqx.filter_jit
def computed(network: AbstractBatchClassifier, x: jax.Array) -> dict[str, jax.Array]:
    """Features and logits in both modes, one row a sample."""
    found = {"batch/features": network.batch_features(x)[0].T, "stored/features": network.feature_matrix(x).T}
    return found | {
        f"{mode}/logits": jax.vmap(network.readout)(found[f"{mode}/features"]) for mode in ("batch", "stored")
    }


@eqx.filter_jit
def gradient_norms(network: AbstractBatchClassifier, x: jax.Array) -> jax.Array:
    """Of half the mean square of a batch's logits, one norm for each parameter array, in the order of the layers."""
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)

    def loss(parameters: Any) -> jax.Array:
        net = eqx.combine(parameters, rest)
        return jnp.mean(jax.vmap(net.readout, in_axes=1)(net.batch_features(x)[0]) ** 2) / 2

    gradient = jax.grad(loss)(parameters)
    leaves = jax.tree.leaves(gradient)
    return jnp.stack([jnp.linalg.norm(leaves[index].ravel()) for index in in_order(gradient)])
