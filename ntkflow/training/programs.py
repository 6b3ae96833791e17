"""The compiled programs of training: a step, an epoch, part of an epoch; of one run or of an ensemble.

The first argument of each program is kept by the caller; the state after it is donated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ntkflow.training.compilation import training_program
from ntkflow.training.loop_form import Loop
from ntkflow.training.recipe import Recipe, StepValues
from ntkflow.training.schedule import AbstractSchedule
from ntkflow.training.state import TrainingState

CHUNK = 256
"""Steps of full-batch training taken at most before the loop comes back to the host, where it can be interrupted."""


@dataclasses.dataclass(frozen=True)
class HostValues:
    """:class:`ntkflow.training.StepValues` of consecutive steps on the host; the gradient's norm of the last."""

    loss: Float[np.ndarray, "steps *members"]
    accuracy: Float[np.ndarray, "steps *members"]
    gradient_norm: Float[np.ndarray, "*members"]


def pieces(recipe: Recipe, first: int, steps: int) -> list[int]:
    """How many steps each program takes: to the end of an epoch at most, of full-batch training :data:`CHUNK`."""
    found = []
    while steps > 0:
        room = CHUNK if recipe.full_batch else recipe.steps_per_epoch - first % recipe.steps_per_epoch
        found.append(min(room, steps))
        first, steps = first + found[-1], steps - found[-1]
    return found


def advance(
    recipe: Recipe, state: TrainingState, schedule: AbstractSchedule, count: int, form: Loop, *, members: bool = False
) -> tuple[TrainingState, HostValues]:
    """``count`` steps within one epoch (or of full-batch training), by one form of the loop, and what they measured.

    Args:
        recipe: data, loss, optimiser, batches.
        state: used up.
        schedule: gives η.
        count: as :func:`pieces` gives it.
        form: ``compiled`` or ``dispatched``.
        members: whether state and schedule are stacked, for an ensemble.
    """
    fixed = (recipe, schedule)
    if form == "dispatched":
        order = order_program(fixed, state, members)
        found = []
        for i in range(count):
            state, values = step_program((*fixed, order, jnp.asarray(i == count - 1)), state, members)
            found.append(values)
        return state, HostValues(
            np.stack([np.asarray(values.loss) for values in found]),
            np.stack([np.asarray(values.accuracy) for values in found]),
            np.asarray(found[-1].gradient_norm),
        )
    whole = CHUNK if recipe.full_batch else recipe.steps_per_epoch
    if count == whole:
        state, values = epoch_program(fixed, state, members, count)
    else:
        state, values = part_program((*fixed, jnp.asarray(count, jnp.int32)), state, members, whole)
    loss, accuracy, norms = (np.asarray(value)[:count] for value in values)
    return state, HostValues(loss, accuracy, norms[-1:].reshape(norms.shape[1:]))


Body = Callable[[Any, Bool[Array, ""]], tuple[Any, StepValues]]


def _advancing(
    recipe: Recipe, schedule: AbstractSchedule, state: TrainingState, order: Array | None, members: bool
) -> tuple[Any, Body, Callable[[Any], TrainingState]]:
    """The state's arrays, one step of them, and the state that they make up: loops carry nothing but arrays."""
    arrays, rest = eqx.partition(state, eqx.is_array)

    def one(
        arrays: Any, schedule: AbstractSchedule, order: Array | None, last: Bool[Array, ""]
    ) -> tuple[Any, StepValues]:
        state = eqx.combine(arrays, rest)
        state, values = recipe.step(state, order, schedule(state.epoch), last)
        return eqx.filter(state, eqx.is_array), values

    many = jax.vmap(one, in_axes=(0, 0, 0, None)) if members else one
    return arrays, lambda arrays, last: many(arrays, schedule, order, last), lambda arrays: eqx.combine(arrays, rest)


def _orders(recipe: Recipe, state: TrainingState, members: bool) -> Array | None:
    return eqx.filter_vmap(recipe.order)(state) if members else recipe.order(state)


@eqx.filter_jit
def order_program(fixed: tuple[Recipe, AbstractSchedule], state: TrainingState, members: bool) -> Array | None:
    """The batches of the epoch that the state is in; for the dispatched loop."""
    return _orders(fixed[0], state, members)


@training_program
def step_program(
    fixed: tuple[Recipe, AbstractSchedule, Array | None, Bool[Array, ""]], state: TrainingState, members: bool
) -> tuple[TrainingState, StepValues]:
    """One step, for the dispatched loop."""
    recipe, schedule, order, last = fixed
    arrays, body, whole = _advancing(recipe, schedule, state, order, members)
    arrays, values = body(arrays, last)
    return whole(arrays), values


@training_program
def epoch_program(
    fixed: tuple[Recipe, AbstractSchedule], state: TrainingState, members: bool, count: int
) -> tuple[TrainingState, StepValues]:
    """All ``count`` steps of an epoch, or of a chunk of full-batch training, in one loop of a length that XLA knows."""
    recipe, schedule = fixed
    arrays, body, whole = _advancing(recipe, schedule, state, _orders(recipe, state, members), members)
    last = jnp.arange(count) == count - 1
    arrays, values = jax.lax.scan(body, arrays, last)
    return whole(arrays), values


@training_program
def part_program(
    fixed: tuple[Recipe, AbstractSchedule, Int[Array, ""]], state: TrainingState, members: bool, capacity: int
) -> tuple[TrainingState, StepValues]:
    """Up to ``capacity`` steps of one epoch; one compilation serves every count."""
    recipe, schedule, count = fixed
    arrays, body, whole = _advancing(recipe, schedule, state, _orders(recipe, state, members), members)
    shapes = jax.eval_shape(body, arrays, jnp.asarray(True))[1]
    records = jax.tree.map(lambda value: jnp.zeros((capacity, *value.shape), value.dtype), shapes)

    def one(i: Int[Array, ""], carry: tuple[Any, StepValues]) -> tuple[Any, StepValues]:
        arrays, values = body(carry[0], i == count - 1)
        return arrays, jax.tree.map(lambda record, value: record.at[i].set(value), carry[1], values)

    arrays, records = jax.lax.fori_loop(jnp.zeros_like(count), count, one, (arrays, records))
    return whole(arrays), records
