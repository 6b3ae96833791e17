"""Ensembles: many members trained by one program, for seeds, step sizes, initialisation scales."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ntkflow.errors import DivergenceError
from ntkflow.networks.tree_structure import first_difference, tree_structure
from ntkflow.training.loop_form import Loop, chosen_loop
from ntkflow.training.programs import HostValues, advance, pieces
from ntkflow.training.recipe import Recipe
from ntkflow.training.schedule import AbstractSchedule
from ntkflow.training.state import TrainingState

Tree = TypeVar("Tree")


@dataclasses.dataclass(frozen=True)
class EnsembleRecord:
    """:class:`ntkflow.training.StepRecord` of every member, members last.

    Attributes:
        first_step: number of the first of the steps, the same for all.
        losses: the objective of each batch.
        accuracies: share of each batch that was classified right.
        gradient_norm: norm of the loss's gradient at the last of the steps.
    """

    first_step: int
    losses: Float[np.ndarray, "steps members"]
    accuracies: Float[np.ndarray, "steps members"]
    gradient_norm: Float[np.ndarray, " members"]

    @property
    def loss(self) -> Float[np.ndarray, " members"]:
        """Mean over the steps."""
        return np.mean(self.losses, axis=0)

    @property
    def accuracy(self) -> Float[np.ndarray, " members"]:
        """Mean over the steps."""
        return np.mean(self.accuracies, axis=0)

    @property
    def diverged(self) -> Bool[np.ndarray, " members"]:
        """Members whose loss, or whose last gradient, is not finite: nothing that they measure means anything."""
        return ~(np.isfinite(self.losses).all(axis=0) & np.isfinite(self.gradient_norm))

    def __str__(self) -> str:
        fine = ~self.diverged
        return (
            f"{len(fine)} members, {int((~fine).sum())} diverged, steps {self.first_step} to "
            f"{self.first_step + len(self.losses)}: mean loss {self.loss[fine].min():.4g} to "
            f"{self.loss[fine].max():.4g}, accuracy {self.accuracy[fine].min():.4f} to {self.accuracy[fine].max():.4f}"
        )


def stack_members(members: Sequence[Tree]) -> Tree:
    """Networks, states or schedules of one structure as one tree, whose arrays have the members as their first axis.

    Raises:
        ValueError: no members, or one whose arrays or static fields differ; says where.
    """
    if not members:
        raise ValueError("stack_members: there are no members")
    wanted = list(tree_structure(members[0]))
    for index, member in enumerate(members[1:], 1):
        difference = first_difference(list(tree_structure(member)), wanted)
        if difference is not None:
            place, theirs, first = difference
            raise ValueError(
                f"stack_members: member {index} differs from member 0 at {place}: {theirs} instead of {first}; one "
                "program trains members of one structure"
            )
    arrays, rest = zip(*(eqx.partition(member, eqx.is_array) for member in members), strict=True)
    return eqx.combine(jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays), rest[0])


def member(stacked: Tree, index: int) -> Tree:
    """One member of a stacked tree, bit for bit."""
    return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, stacked)


def member_count(stacked: Any) -> int:
    """How many members a stacked tree has."""
    return next(leaf.shape[0] for leaf in jax.tree.leaves(stacked) if eqx.is_array(leaf))


def train_ensemble_epoch(
    recipe: Recipe, states: TrainingState, schedules: AbstractSchedule, *, loop: Loop = "auto"
) -> tuple[TrainingState, EnsembleRecord]:
    """:func:`ntkflow.training.train_epoch` of every member at once, by ``jax.vmap`` over states and schedules.

    Args:
        recipe: the same for all members.
        states: stacked, used up; each with its own key, so with its own order of samples. All at the same step.
        schedules: stacked; each with its own step size.
        loop: :data:`ntkflow.training.Loop`.

    Raises:
        ValueError: members at different steps, or not as many schedules as states.
        DivergenceError: every member diverged. One that did while others go on keeps its NaNs and is named by
            :attr:`EnsembleRecord.diverged`.
    """
    steps = np.asarray(states.step)
    left = recipe.steps_per_epoch - int(steps[0]) % recipe.steps_per_epoch
    return run_ensemble_steps(recipe, states, schedules, left, loop=loop)


def run_ensemble_steps(
    recipe: Recipe, states: TrainingState, schedules: AbstractSchedule, steps: int, *, loop: Loop = "auto"
) -> tuple[TrainingState, EnsembleRecord]:
    """:func:`ntkflow.training.run_steps` of every member at once; arguments as :func:`train_ensemble_epoch`.

    Raises:
        ValueError: no steps, members at different steps, or not as many schedules as states.
        DivergenceError: every member diverged.
    """
    if steps < 1:
        raise ValueError(f"run_ensemble_steps: steps must be 1 or more, not {steps}")
    at = np.asarray(states.step)
    if at.ndim != 1 or np.any(at != at[0]):
        raise ValueError(f"an ensemble is a stacked state whose members are at one step, not at {at}")
    if schedules.step_size.shape[:1] != at.shape:
        raise ValueError(
            f"{len(at)} states need {len(at)} stacked schedules, not step sizes of shape {schedules.step_size.shape}"
        )
    form = chosen_loop(loop, states.network)
    found: list[HostValues] = []
    for count in pieces(recipe, int(at[0]), steps):
        states, values = advance(recipe, states, schedules, count, form, members=True)
        found.append(values)
    record = EnsembleRecord(
        int(at[0]),
        np.concatenate([values.loss for values in found]),
        np.concatenate([values.accuracy for values in found]),
        found[-1].gradient_norm,
    )
    if record.diverged.all():
        raise DivergenceError(
            f"the loss of each of {len(at)} members is not finite between steps {at[0]} and {at[0] + steps}, with step "
            f"sizes from {float(schedules.step_size.min()):g} to {float(schedules.step_size.max()):g} at the start",
            place="training.step_size",
            remedy=f"Try {float(schedules.step_size.min()) / 10:.2g}.",
        )
    return states, record
