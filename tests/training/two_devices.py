"""Run by test_several_devices.py in a process of its own, with forced host devices: prints what differs, as JSON."""

from __future__ import annotations

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from training.mini_batches import CLASSES, constant, convolutional, network, parameters, recipe, start

from ntkflow.networks import AbstractClassifier
from ntkflow.training import (
    Recipe,
    device_mesh,
    replicate,
    split_batches,
    split_members,
    stack_members,
    train_ensemble_epoch,
    train_epoch,
)


def off(left: AbstractClassifier, right: AbstractClassifier) -> float:
    a, b = parameters(left), parameters(right)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def data_parallel(problem: Recipe, net: AbstractClassifier, loop: str) -> dict:
    mesh = device_mesh()
    split = split_batches(problem, mesh)
    state = replicate(problem.start(net, jax.random.key(0)), mesh)
    alone = problem.start(net, jax.random.key(0))
    for _ in range(2):
        state, record = train_epoch(split, state, constant(), loop=loop)
        alone, single = train_epoch(problem, alone, constant(), loop=loop)
    return {
        "off": off(state.network, alone.network),
        "loss": float(np.abs(record.losses / single.losses - 1).max()),
        "devices": len(state.network.readout.weight.sharding.device_set),
    }


def ensemble() -> dict:
    mesh = device_mesh()
    stacked = stack_members([start(seed) for seed in range(4)])
    schedules = stack_members([constant(0.01 * (1 + seed)) for seed in range(4)])
    split = (replicate(recipe(), mesh), split_members(stacked, mesh), split_members(schedules, mesh))
    states, _ = train_ensemble_epoch(*split)
    alone, _ = train_ensemble_epoch(recipe(), stack_members([start(seed) for seed in range(4)]), schedules)
    weight = states.network.readout.weight
    return {
        "off": off(states.network, alone.network),
        "shards": [shard.data.shape[0] for shard in weight.addressable_shards],
        "devices": len(weight.sharding.device_set),
    }


def refusals() -> list[str]:
    found = []
    odd = Recipe(recipe().inputs, recipe().targets, recipe().objective, recipe().optimizer, 1)
    for attempt in (
        lambda: split_batches(odd, device_mesh()),
        lambda: split_members(stack_members([start(seed) for seed in range(3)]), device_mesh()),
    ):
        try:
            attempt()
        except ValueError as error:
            found.append(str(error))
    return found


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    assert jnp.zeros(CLASSES).dtype == jnp.float64
    images, residual = convolutional()
    found = {
        "devices": len(jax.devices()),
        "layers": data_parallel(recipe(), network(), "compiled"),
        "residual": data_parallel(images, residual, "dispatched"),
        "ensemble": ensemble(),
        "refusals": refusals(),
    }
    sys.stdout.write(json.dumps(found))
