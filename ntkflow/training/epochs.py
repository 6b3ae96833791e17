"""Epochs of training: all steps of an epoch in one compiled loop, nothing back to the host before its end.

Two loops do the same (:data:`ntkflow.training.Loop`). State buffers are donated: a state given to a function of this
module is used up, and the one that comes back takes its place.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ntkflow.errors import DivergenceError
from ntkflow.training.loop_form import Loop, chosen_loop
from ntkflow.training.programs import HostValues, advance, pieces
from ntkflow.training.recipe import Recipe
from ntkflow.training.schedule import AbstractSchedule
from ntkflow.training.state import TrainingState


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """What consecutive steps measured on their own batches, each by the parameters before it.

    Attributes:
        first_step: number of the first of them; steps count from 0.
        losses: the objective of each batch.
        accuracies: share of each batch that was classified right.
        gradient_norm: norm of the loss's gradient at the last of the steps, on its batch; weight decay not included.
    """

    first_step: int
    losses: Float[np.ndarray, " steps"]
    accuracies: Float[np.ndarray, " steps"]
    gradient_norm: float

    @property
    def loss(self) -> float:
        """Mean over the steps."""
        return float(np.mean(self.losses))

    @property
    def accuracy(self) -> float:
        """Mean over the steps: over the samples of their batches, which are all of one size."""
        return float(np.mean(self.accuracies))

    def __str__(self) -> str:
        last = self.first_step + len(self.losses)
        return (
            f"Steps {self.first_step} to {last}: mean loss {self.loss:.4g}, accuracy {self.accuracy:.4f}, gradient "
            f"norm at the last {self.gradient_norm:.4g}"
        )


def train_epoch(
    recipe: Recipe, state: TrainingState, schedule: AbstractSchedule, *, loop: Loop = "auto"
) -> tuple[TrainingState, StepRecord]:
    """Train to the end of the epoch that the state is in: a whole one, if it stands at a beginning.

    Args:
        recipe: data, loss, optimiser, batches.
        state: used up.
        schedule: gives η of the epoch, inside the compiled program.
        loop: :data:`ntkflow.training.Loop`.

    Raises:
        DivergenceError: the loss, or the last gradient, left the finite numbers.
    """
    left = recipe.steps_per_epoch - int(state.step) % recipe.steps_per_epoch
    return run_steps(recipe, state, schedule, left, loop=loop)


def run_steps(
    recipe: Recipe, state: TrainingState, schedule: AbstractSchedule, steps: int, *, loop: Loop = "auto"
) -> tuple[TrainingState, StepRecord]:
    """Train for a number of steps, across epochs where it has to.

    The compiled loop is a program for whole epochs (of full-batch training: for :data:`CHUNK` steps) and another one
    for every other number; the host hears of it between them.

    Args:
        recipe: data, loss, optimiser, batches.
        state: used up.
        schedule: gives η of each epoch.
        steps: 1 or more.
        loop: :data:`ntkflow.training.Loop`.

    Raises:
        ValueError: no steps.
        DivergenceError: the loss, or the last gradient, left the finite numbers.
    """
    if steps < 1:
        raise ValueError(f"run_steps: steps must be 1 or more, not {steps}")
    form = chosen_loop(loop, state.network)
    first = step = int(state.step)
    losses, accuracies, norm = [], [], float("nan")
    for count in pieces(recipe, first, steps):
        state, values = advance(recipe, state, schedule, count, form)
        require_finite(values, step, recipe, schedule)
        losses.append(values.loss)
        accuracies.append(values.accuracy)
        norm = float(values.gradient_norm)
        step += count
    return state, StepRecord(first, np.concatenate(losses), np.concatenate(accuracies), norm)


def require_finite(values: HostValues, first_step: int, recipe: Recipe, schedule: AbstractSchedule) -> None:
    """Refuses steps whose loss, or whose last gradient, is not finite.

    Raises:
        DivergenceError: with epoch, step and step size.
    """
    bad = np.flatnonzero(~np.isfinite(values.loss))
    if bad.size == 0 and np.isfinite(values.gradient_norm):
        return
    step = first_step + (int(bad[0]) if bad.size else len(values.loss) - 1)
    if step == 0:
        raise DivergenceError(
            "the loss of the untrained network, or its gradient, is not finite",
            remedy="Look at the inputs' scale and the initialisation.",
        )
    epoch = step // recipe.steps_per_epoch
    step_size = float(schedule(jnp.asarray(epoch, jnp.int32)))
    raise DivergenceError(
        f"the {'loss' if bad.size else 'gradient'} is not finite at step {step} (epoch {epoch}) of training with step "
        f"size {step_size:g}",
        place="training.step_size",
        remedy=f"Try {step_size / 10:.2g}. Gradient descent on all samples allows steps up to 2Z/lambda_max of the "
        "network's kernel, less where that grows.",
    )
