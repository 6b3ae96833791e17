"""Every training program lowers to CUDA: nothing of it needs a host or a CPU. No GPU is needed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flows.lowering import lower_for_cuda
from training.mini_batches import BATCH_PER_CLASS, PER_CLASS, constant, convolutional, network, recipe, start

from ntkflow.training import Adam, Recipe, Steps, stack_members
from ntkflow.training.programs import epoch_program, order_program, part_program, step_program


@pytest.mark.parametrize("per_class", [BATCH_PER_CLASS, PER_CLASS])
def test_an_epoch(per_class: int) -> None:
    problem = recipe(per_class)
    state = problem.start(network(), jax.random.key(0))
    schedule = Steps(jnp.asarray(0.1))
    text = lower_for_cuda(lambda *a: epoch_program(a[:2], a[2], False, 3), problem, schedule, state)
    # One program with one loop over the steps, and nothing that calls back.
    assert "stablehlo.while" in text
    assert "callback" not in text
    lower_for_cuda(lambda *a: part_program(a[:3], a[3], False, 3), problem, schedule, jnp.asarray(2, jnp.int32), state)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_of_a_network_with_batch_normalisation(optimizer: str) -> None:
    problem, net = convolutional()
    if optimizer == "adam":
        problem = Recipe(problem.inputs, problem.targets, problem.objective, Adam(weight_decay=0.1), 2)
    state = problem.start(net, jax.random.key(0))
    order = problem.order(state)

    def step(problem: Recipe, schedule: Any, order: Any, last: Any, state: Any) -> Any:
        return step_program((problem, schedule, order, last), state, False)

    text = lower_for_cuda(step, problem, constant(), order, jnp.asarray(True), state)
    assert "stablehlo.convolution" in text
    assert "callback" not in text


def test_an_epoch_of_an_ensemble() -> None:
    states = stack_members([start(0), start(1)])
    schedules = stack_members([constant(0.1), constant(0.2)])
    text = lower_for_cuda(lambda *a: epoch_program(a[:2], a[2], True, 3), recipe(), schedules, states)
    assert "callback" not in text
    lower_for_cuda(lambda *a: order_program(a[:2], a[2], True), recipe(), schedules, states)
