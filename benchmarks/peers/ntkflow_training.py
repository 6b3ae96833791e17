"""Training by ntkflow, and by what one would write with Equinox: `python ntkflow_training.py resnet-ntkflow`.

In ntkflow's own environment; see peer_rounds.py. Memory is kept as the command line of ntkflow keeps it.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from peer_rounds import MOMENTUM, SMOKE, STEP_SIZE, WEIGHT_DECAY, Round, TrainingSizes, images, serve

from ntkflow.environment import keep_freed_memory
from ntkflow.networks import MLP, ResNet
from ntkflow.training import (
    SGD,
    Constant,
    CrossEntropy,
    Recipe,
    device_mesh,
    replicate,
    split_members,
    train_epoch,
)
from ntkflow.training.ensemble import stack_members, train_ensemble_epoch
from ntkflow.training.loop_form import Loop


def network(name: str, sizes: TrainingSizes, seed: int) -> Any:
    """The same networks as the peers'."""
    key = jax.random.key(seed)
    if name == "resnet":
        return ResNet(key, input_channels=1, outputs=10, depth=sizes.depth)
    return MLP(key, inputs=sizes.image**2, outputs=10, width=sizes.width, hidden_layers=1, features=sizes.width)


def recipe(sizes: TrainingSizes, steps: int) -> Recipe:
    """Batches with as many of each class, on the device."""
    inputs, _ = images(sizes, steps)
    optimizer = SGD(momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
    return Recipe(jnp.asarray(inputs), jnp.eye(10), CrossEntropy(), optimizer, sizes.batch // 10)


def case(name: str, loop: Loop, sizes: TrainingSizes) -> tuple[Round, int]:
    """Rounds of an epoch of :func:`ntkflow.training.train_epoch`."""
    keep_freed_memory()
    steps = sizes.resnet_steps if name == "resnet" else sizes.mlp_steps
    problem, schedule = recipe(sizes, steps), Constant(STEP_SIZE)
    state = problem.start(network(name, sizes, 0), jax.random.key(1))

    def run() -> float:
        nonlocal state
        state, record = train_epoch(problem, state, schedule, loop=loop)
        return record.loss

    return run, steps


ENSEMBLES: dict[str, dict[str, int]] = {
    "16": {"width": 16, "batch": 20, "image": 8, "ensemble_steps": 100},
    "32": {"width": 32, "batch": 40, "image": 8, "ensemble_steps": 100},
    "64": {"width": 64, "batch": 40, "image": 8, "ensemble_steps": 100},
    "128": {"width": 128, "batch": 40, "image": 8, "ensemble_steps": 50},
    "512": {"width": 512, "batch": 120, "image": 28, "ensemble_steps": 20},
}
"""Networks of digits whose steps are too small to keep a processor busy, up to one whose steps are not."""


def ensemble(name: str, how: str, sizes: TrainingSizes) -> tuple[Round, int]:
    """Rounds of an epoch of many MLPs: ``one-by-one``, ``together`` by vmap, or that shared out among ``devices``."""
    keep_freed_memory()
    if sizes != SMOKE:
        sizes = dataclasses.replace(sizes, **ENSEMBLES[name])
    problem = recipe(sizes, sizes.ensemble_steps)
    single = [problem.start(network("mlp", sizes, seed), jax.random.key(100 + seed)) for seed in range(sizes.members)]
    schedule = Constant(STEP_SIZE)
    if how == "one-by-one":

        def one_by_one() -> float:
            for i, state in enumerate(single):
                single[i], record = train_epoch(problem, state, schedule)
            return record.loss

        return one_by_one, sizes.ensemble_steps * sizes.members
    states, schedules = stack_members(single), stack_members([schedule] * sizes.members)
    if how == "devices":
        mesh = device_mesh()
        problem, states, schedules = (
            replicate(problem, mesh),
            split_members(states, mesh),
            split_members(schedules, mesh),
        )

    def together() -> float:
        nonlocal states
        states, record = train_ensemble_epoch(problem, states, schedules)
        return float(record.loss[-1])

    return together, sizes.ensemble_steps * sizes.members


class PlainBlock(eqx.Module):
    """A block of Equinox' layers for a batch."""

    layers: tuple[Any, ...]
    shortcut: Any

    def __init__(self, key: jax.Array, inputs: int, outputs: int, stride: int) -> None:
        keys = jax.random.split(key, 3)
        self.layers = (_plain(keys[0], inputs, outputs, 3, stride), _plain(keys[1], outputs, outputs, 3, 1))
        self.shortcut = _plain(keys[2], inputs, outputs, 1, stride) if inputs != outputs else None

    def __call__(self, a: jax.Array) -> jax.Array:
        """One batch."""
        z = _apply(self.layers[1], jax.nn.relu(_apply(self.layers[0], a)))
        return jax.nn.relu(z + (a if self.shortcut is None else _apply(self.shortcut, a)))


def _plain(key: jax.Array, inputs: int, outputs: int, window: int, stride: int) -> Any:
    convolution = eqx.nn.Conv2d(inputs, outputs, window, stride, window // 2, use_bias=False, key=key)
    return convolution, jnp.ones(outputs), jnp.zeros(outputs)


def _apply(layer: Any, a: jax.Array) -> jax.Array:
    convolution, gain, shift = layer
    z = jax.vmap(convolution)(a)
    mean, variance = jnp.mean(z, (0, 2, 3), keepdims=True), jnp.var(z, (0, 2, 3), keepdims=True)
    return gain[:, None, None] * (z - mean) / jnp.sqrt(variance + 1e-5) + shift[:, None, None]


def plain(sizes: TrainingSizes) -> tuple[Round, int]:
    """A residual network of Equinox' convolutions, normalised by the batch, a compiled step of Optax a batch."""
    inputs, labels = images(sizes, sizes.resnet_steps)
    per_stage = (sizes.depth - 2) // 6
    channels = [16, *[16] * per_stage, *[32] * per_stage, *[64] * per_stage]
    keys = jax.random.split(jax.random.key(0), len(channels) + 1)
    blocks = [
        PlainBlock(key, a, b, 1 if a == b else 2)
        for key, a, b in zip(keys[2:], channels[:-1], channels[1:], strict=True)
    ]
    model = (_plain(keys[0], 1, 16, 3, 1), blocks, eqx.nn.Linear(64, 10, key=keys[1]))
    optimizer = optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), optax.sgd(STEP_SIZE, MOMENTUM, nesterov=True))
    moments = optimizer.init(eqx.filter(model, eqx.is_array))
    x, y = jnp.asarray(inputs), jnp.asarray(labels)

    @eqx.filter_jit(donate="all-except-first")
    def step(batch: jax.Array, model: Any, moments: Any) -> tuple[Any, Any, jax.Array]:
        def loss(model: Any) -> jax.Array:
            stem, blocks, readout = model
            a = jax.nn.relu(_apply(stem, x[batch]))
            for block in blocks:
                a = block(a)
            logits = jax.vmap(readout)(jnp.mean(a, (2, 3)))
            return optax.softmax_cross_entropy_with_integer_labels(logits, y[batch]).mean()

        value, gradient = eqx.filter_value_and_grad(loss)(model)
        updates, moments = optimizer.update(gradient, moments, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), moments, value

    key = jax.random.key(2)

    def run() -> float:
        nonlocal model, moments, key
        key, use = jax.random.split(key)
        losses = []
        for batch in jax.random.permutation(use, len(y)).reshape(-1, sizes.batch):
            model, moments, value = step(batch, model, moments)
            losses.append(value)
        return float(jnp.stack(losses).mean())

    return run, sizes.resnet_steps


CASES = {
    "resnet-ntkflow": functools.partial(case, "resnet", "auto"),
    "resnet-dispatched": functools.partial(case, "resnet", "dispatched"),
    "resnet-compiled": functools.partial(case, "resnet", "compiled"),
    "resnet-plain": plain,
    "mlp-ntkflow": functools.partial(case, "mlp", "auto"),
    **{
        f"ensemble-{name}-{how}": functools.partial(ensemble, name, how)
        for name in ENSEMBLES
        for how in ("one-by-one", "together", "devices")
    },
}

if __name__ == "__main__":
    serve((__doc__ or "").splitlines()[0], CASES)
