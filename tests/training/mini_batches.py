"""Small problems of mini-batch training, shared by its tests: compiled once."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks import (
    MLP,
    AbstractBatchClassifier,
    AbstractClassifier,
    BatchAxis,
    NormalizedConvolution,
    Readout,
    global_average_pool,
)
from ntkflow.training import SGD, Constant, CrossEntropy, Recipe, SquaredError, TrainingState

CLASSES, PER_CLASS, BATCH_PER_CLASS = 3, 7, 2
"""Three batches an epoch, and one sample of each class left over."""
SAMPLES = CLASSES * PER_CLASS
Z = 5.0
STEP_SIZE = 0.05
STEPS_PER_EPOCH = PER_CLASS // BATCH_PER_CLASS


@functools.cache
def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((SAMPLES, 4))


@functools.cache
def targets() -> np.ndarray:
    return np.eye(CLASSES) - 1 / CLASSES


@functools.cache
def network(seed: int = 0) -> MLP:
    key = jax.random.key(seed)
    return MLP(key, inputs=4, outputs=CLASSES, width=5, hidden_layers=1, features=6, activation="tanh")


@functools.cache
def recipe(batch_per_class: int = BATCH_PER_CLASS) -> Recipe:
    optimizer = SGD(momentum=0.9, nesterov=True, weight_decay=0.05)
    return Recipe(jnp.asarray(inputs()), jnp.asarray(targets()), SquaredError(Z), optimizer, batch_per_class)


class OneConvolution(AbstractBatchClassifier):
    """A normalised convolution, ReLU, means over positions: the least that has all of a residual network's kinds."""

    stem: NormalizedConvolution
    readout: Readout

    def __init__(self, key: PRNGKeyArray) -> None:
        self.stem = NormalizedConvolution(key, 1, 4)
        weight = jax.random.normal(jax.random.fold_in(key, 1), (CLASSES, 4))
        self.readout = Readout(weight, jnp.zeros(CLASSES))

    def apply(
        self, x: Float[Array, "..."], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, " features"], "OneConvolution"]:
        z, stem = self.stem.apply(x, batch_axis)
        return global_average_pool(jax.nn.relu(z)), eqx.tree_at(lambda net: net.stem, self, stem)


@functools.cache
def convolutional() -> tuple[Recipe, OneConvolution]:
    """Cross-entropy on images; two batches an epoch."""
    images = jnp.asarray(np.random.default_rng(1).standard_normal((CLASSES * 4, 1, 4, 4)))
    recipe = Recipe(images, jnp.asarray(targets()), CrossEntropy(), SGD(momentum=0.9), 2)
    return recipe, OneConvolution(jax.random.key(3))


def start(seed: int = 0) -> TrainingState:
    return recipe().start(network(seed), jax.random.key(10 + seed))


def constant(step_size: float = STEP_SIZE) -> Constant:
    return Constant(jnp.asarray(step_size))


def arrays(tree: Any) -> list[np.ndarray]:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    keys = [jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    return [np.asarray(jax.random.key_data(leaf) if key else leaf) for leaf, key in zip(leaves, keys, strict=True)]


def same_bits(left: Any, right: Any) -> bool:
    pairs = zip(arrays(left), arrays(right), strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def parameters(network: AbstractClassifier) -> np.ndarray:
    """All of them in one vector."""
    return np.concatenate([a.ravel() for a in arrays(eqx.filter(network, eqx.is_inexact_array))])
