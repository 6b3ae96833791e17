"""Rules by which training stops before its last step."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ntkflow.training.epochs import StepRecord, run_steps
from ntkflow.training.loop_form import Loop
from ntkflow.training.programs import CHUNK
from ntkflow.training.recipe import Recipe, copy_state
from ntkflow.training.schedule import AbstractSchedule
from ntkflow.training.state import TrainingState


class AbstractStoppingRule(eqx.Module):
    """Looks at the loss of every step, in their order, and says when it is enough.

    The state of a rule is a PyTree of arrays; it can be stored with the training state.
    """

    @abc.abstractmethod
    def start(self) -> Any:
        """The rule's state before the first step."""

    @abc.abstractmethod
    def update(self, state: Any, loss: Float[Array, ""]) -> tuple[Any, Bool[Array, ""]]:
        """The state after one more loss, and whether training stops there: the step that follows is not taken."""


class StalledLoss(AbstractStoppingRule):
    """Stops when the loss did not decrease by at least δ in ``patience`` consecutive steps.

    Paper 1, "Analyzing Finite Neural Networks: Can We Trust Neural Tangent Kernel Theory?", captions of Figures 3 and
    4: "We used early stopping when the loss did not decrease by at least 10⁻⁷ in 100 consecutive steps, otherwise the
    number of training steps was limited by 10⁵." The paper does not say with which loss a step is compared. Here: with
    the one from which the count began. The first loss begins it; a loss at least δ below begins it again; after
    ``patience`` others training stops. A loss that falls by δ/2 a step goes on, one that falls by δ/200 does not. The
    limit on steps is that of :func:`ntkflow.training.train_until`.

    Made for full-batch training. The loss of a mini-batch is noisy: its smallest value up to now counts.

    Args:
        least_decrease: δ ≥ 0.
        patience: steps, 1 or more.

    Raises:
        ValueError: δ or ``patience`` outside its range.
    """

    least_decrease: float = eqx.field(static=True, default=1e-7)
    patience: int = eqx.field(static=True, default=100)

    def __check_init__(self) -> None:
        if not self.least_decrease >= 0:
            raise ValueError(f"StalledLoss: least_decrease must be 0 or more, not {self.least_decrease}")
        if self.patience < 1:
            raise ValueError(f"StalledLoss: patience must be 1 step or more, not {self.patience}")

    def start(self) -> tuple[Float[Array, ""], Int[Array, ""]]:
        """No loss to compare with, and none that did not decrease."""
        # In the widest type there is: δ is small beside the loss.
        return jnp.asarray(jnp.inf, jax.dtypes.canonicalize_dtype(jnp.float64)), jnp.zeros((), jnp.int32)

    def update(
        self, state: tuple[Float[Array, ""], Int[Array, ""]], loss: Float[Array, ""]
    ) -> tuple[tuple[Float[Array, ""], Int[Array, ""]], Bool[Array, ""]]:
        """Count the steps since the loss last decreased by δ."""
        reference, stalled = state
        loss = loss.astype(reference.dtype)
        decreased = loss <= reference - self.least_decrease
        stalled = jnp.where(decreased, 0, stalled + 1)
        return (jnp.where(decreased, loss, reference), stalled), stalled >= self.patience


class LossBelow(AbstractStoppingRule):
    """Stops at the first step whose loss is below a threshold.

    Args:
        threshold: of the objective, on the step's batch.
    """

    threshold: float = eqx.field(static=True)

    def start(self) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def update(self, state: tuple[()], loss: Float[Array, ""]) -> tuple[tuple[()], Bool[Array, ""]]:
        """Whether it is below."""
        return state, loss < self.threshold


def first_stop(rule: AbstractStoppingRule, state: Any, losses: Float[np.ndarray, " losses"]) -> tuple[Any, int | None]:
    """The rule's state after some losses, and the index of the first at which it stops; None if at none.

    After a stop the state is that of the stop.
    """
    # Rounded up to whole chunks, or every number of losses would be another program.
    length = -(-len(losses) // CHUNK) * CHUNK
    padded = jnp.asarray(np.concatenate([losses, np.full(length - len(losses), np.nan, losses.dtype)]))
    state, stop = _first_stop(rule, state, padded, jnp.asarray(len(losses), jnp.int32))
    return state, None if int(stop) < 0 else int(stop)


@eqx.filter_jit
def _first_stop(
    rule: AbstractStoppingRule, state: Any, losses: Float[Array, " losses"], count: Int[Array, ""]
) -> tuple[Any, Int[Array, ""]]:
    def one(i: Int[Array, ""], carry: tuple[Any, Int[Array, ""]]) -> tuple[Any, Int[Array, ""]]:
        state, stop = carry
        updated, stops = rule.update(state, losses[i])
        state = jax.tree.map(lambda new, old: jnp.where(stop < 0, new, old), updated, state)
        return state, jnp.where((stop < 0) & stops, i, stop)

    return jax.lax.fori_loop(jnp.zeros_like(count), count, one, (state, jnp.full_like(count, -1)))


def train_until(
    recipe: Recipe,
    state: TrainingState,
    schedule: AbstractSchedule,
    rule: AbstractStoppingRule,
    rule_state: Any,
    steps: int,
    *,
    loop: Loop = "auto",
) -> tuple[TrainingState, Any, StepRecord, bool]:
    """Train until the rule stops it, or for ``steps`` steps.

    Where the rule stops at a loss, the state that comes back is the one that has this loss: the step that measured it
    was taken in a chunk, and the chunk is taken again up to there from a copy.

    Args:
        recipe: data, loss, optimiser, batches.
        state: used up.
        schedule: gives η of each epoch.
        rule: when to stop.
        rule_state: ``rule.start()``, or what the last call returned.
        steps: at most; 1 or more.
        loop: :data:`ntkflow.training.Loop`.

    Returns:
        The state, the rule's state, the steps that were looked at (the last one's update is undone where the rule
        stopped), and whether the rule stopped.

    Raises:
        DivergenceError: the loss, or a gradient, left the finite numbers.
    """
    before = copy_state(state)
    state, record = run_steps(recipe, state, schedule, steps, loop=loop)
    rule_state, stop = first_stop(rule, rule_state, record.losses)
    if stop is None:
        return state, rule_state, record, False
    if stop > 0:
        before, again = run_steps(recipe, before, schedule, stop, loop=loop)
        record = StepRecord(
            record.first_step, record.losses[: stop + 1], record.accuracies[: stop + 1], again.gradient_norm
        )
    return before, rule_state, record, True
