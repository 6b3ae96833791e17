"""Twenty steps of PyTorch's optimisers (tests/oracles/pytorch_training) against the same steps here."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.networks import MLP, AbstractClassifier, ResNet, Statistics
from ntkflow.training import SGD, Adam, CrossEntropy, Recipe, SquaredError

HERE = Path(__file__).parents[1] / "oracles" / "pytorch_training"
CLASSES, PER_CLASS, BATCH_PER_CLASS, STEPS, DROP = 3, 6, 3, 20, 10
OPTIMIZERS = {
    "nesterov": (0.1, SGD(momentum=0.9, nesterov=True, weight_decay=5e-4)),
    "coupled": (0.1, SGD(momentum=0.8, weight_decay=0.05)),
    "decoupled": (0.1, SGD(momentum=0.9, nesterov=True, weight_decay=0.05, decay="decoupled")),
    "weights": (0.1, SGD(momentum=0.9, nesterov=True, weight_decay=0.05, decayed="weights")),
    "adam": (0.02, Adam(weight_decay=0.05)),
    "adamw": (0.02, Adam(weight_decay=0.05, decay="decoupled")),
}
TOLERANCE = {"float32": 1e-4, "float64": 1e-11}
"""Of the distance moved, relative, over all parameters; the issue asks for 1e-4 of the parameters themselves."""


@functools.cache
def stored(name: str) -> dict[str, np.ndarray]:
    with np.load(HERE / f"{name}.npz") as archive:
        return dict(archive)


def place(path: Any) -> str:
    return jax.tree_util.keystr(path).replace("[", ".").replace("]", "").removeprefix(".")


def started(name: str, dtype: str) -> AbstractClassifier:
    key = jax.random.key(0)
    if name == "layers":
        net = MLP(key, inputs=9, outputs=CLASSES, width=10, hidden_layers=1, features=8, activation="tanh")
    else:
        net = ResNet(key, input_channels=1, outputs=CLASSES, depth=8, channels=(3, 4, 5), dtype=dtype)
    parameters, rest = eqx.partition(net, eqx.is_inexact_array)

    def taken(path: Any, leaf: jax.Array) -> jax.Array:
        value = stored(name)[f"start/{place(path)}"]
        assert value.shape == leaf.shape
        return jnp.asarray(value, dtype)

    return eqx.combine(jax.tree_util.tree_map_with_path(taken, parameters), rest)


@functools.cache
def trained(name: str, optimizer: str, dtype: str) -> tuple[AbstractClassifier, np.ndarray]:
    arrays = stored(name)
    step_size, rule = OPTIMIZERS[optimizer]
    # The mean over samples and outputs is Z = NC/2.
    objective = SquaredError(CLASSES * PER_CLASS * CLASSES / 2) if name == "layers" else CrossEntropy()
    targets = jnp.asarray(np.eye(CLASSES) - 1 / CLASSES, dtype)
    recipe = Recipe(jnp.asarray(arrays["inputs"], dtype), targets, objective, rule, BATCH_PER_CLASS)
    step = eqx.filter_jit(recipe.step)
    state = recipe.start(started(name, dtype), jax.random.key(0))
    losses = []
    for k in range(STEPS):
        pair = k - k % recipe.steps_per_epoch
        order = jnp.asarray(arrays["batches"][pair : pair + recipe.steps_per_epoch])
        state, values = step(state, order, jnp.asarray(step_size if k < DROP else step_size / 10))
        losses.append(float(values.loss))
    return state.network, np.array(losses)


def length(arrays: list[np.ndarray]) -> float:
    """Euclidean norm of all of them as one vector."""
    return float(np.sqrt(sum((a**2).sum() for a in arrays)))


def compare(name: str, optimizer: str, dtype: str) -> dict[str, float]:
    """Relative differences: of the losses, of all parameters' movement and size, of the running statistics."""
    network, losses = trained(name, optimizer, dtype)
    expected = {key: value.astype(float) for key, value in stored(name).items()}
    run = f"{optimizer}/{dtype}"
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(network, eqx.is_inexact_array))
    assert {place(path) for path, _ in leaves} == {key[6:] for key in expected if key.startswith("start/")}
    off = [np.asarray(leaf, float) - expected[f"{run}/end/{place(path)}"] for path, leaf in leaves]
    moved = [expected[f"{run}/end/{place(path)}"] - expected[f"start/{place(path)}"] for path, _ in leaves]
    size = [expected[f"{run}/end/{place(path)}"] for path, _ in leaves]
    found = {
        "losses": np.abs(losses / expected[f"{run}/losses"] - 1).max(),
        "movement": length(off) / length(moved),
        "parameters": length(off) / length(size),
    }
    nodes = jax.tree_util.tree_leaves_with_path(network, is_leaf=lambda node: isinstance(node, Statistics))
    statistics = [(path, node) for path, node in nodes if isinstance(node, Statistics)]
    if name == "residual":
        assert len(statistics) == 9
        for what in ("mean", "variance"):
            pairs = [
                (getattr(node, what), expected[f"{run}/end/{place(path).removesuffix('statistics')}{what}"])
                for path, node in statistics
            ]
            found[what] = max(np.linalg.norm(np.asarray(a) - b) / np.linalg.norm(b) for a, b in pairs)
    return found


def test_the_stored_files_are_those_that_were_made() -> None:
    recorded = json.loads((HERE / "values.json").read_text())["sha256"]
    assert recorded == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in HERE.glob("*.npz")}
    assert set(recorded) == {"layers.npz", "residual.npz"}


@pytest.mark.parametrize("optimizer", ["decoupled", "weights", "adam"])
def test_layers(optimizer: str) -> None:
    assert max(compare("layers", optimizer, "float64").values()) <= TOLERANCE["float64"]


@pytest.mark.parametrize("name", ["layers", "residual"])
def test_the_papers_optimizer_in_single_precision(name: str) -> None:
    assert max(compare(name, "nesterov", "float32").values()) <= TOLERANCE["float32"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["layers", "residual"])
def test_every_run(name: str, optimizer: str, dtype: str) -> None:
    assert max(compare(name, optimizer, dtype).values()) <= TOLERANCE[dtype]
