"""Many networks under full-batch gradient descent at once, each until its own end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ntkflow.networks import AbstractClassifier
from ntkflow.progress import Progress, silent
from ntkflow.training.ensemble import stack_members
from ntkflow.training.gradient_descent import CHUNK
from ntkflow.training.problem import Problem
from ntkflow.training.stopping import AbstractStoppingRule

GOES_ON: Final = 0
STOPPED: Final = 1
DIVERGED: Final = 2


class DescentEnsemble(eqx.Module):
    """Where each of several networks stands; every array has the members as its first axis, or none for one of them.

    Attributes:
        networks: stacked. Of one that ended: with the parameters at which it did.
        rule: state of the stopping rule.
        step: steps taken.
        loss: the last loss that was looked at; infinite before the first.
        least_loss: the smallest up to there.
        end: :data:`GOES_ON`, :data:`STOPPED` by the rule, or :data:`DIVERGED`, the loss left the finite numbers.
    """

    networks: AbstractClassifier
    rule: Any
    step: Int[Array, "*members"]
    loss: Float[Array, "*members"]
    least_loss: Float[Array, "*members"]
    end: Int[Array, "*members"]

    @classmethod
    def of(cls, networks: Sequence[AbstractClassifier], rule: AbstractStoppingRule) -> DescentEnsemble:
        """Before the first step.

        Raises:
            ValueError: no networks, or networks of different structure.
        """
        stacked, count = stack_members(networks), len(networks)
        start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), rule.start())
        infinite = jnp.full(count, jnp.inf, stacked.readout.weight.dtype)
        zeros = jnp.zeros(count, jnp.int32)
        return cls(stacked, start, zeros, infinite, infinite, zeros)

    @property
    def going_on(self) -> Int[np.ndarray, " running"]:
        """Indices of the members that have not ended."""
        return np.flatnonzero(np.asarray(self.end) == GOES_ON)


def descend_together(
    ensemble: DescentEnsemble,
    problem: Problem,
    step_size: float,
    rule: AbstractStoppingRule,
    steps: int,
    *,
    progress: Progress = silent,
) -> DescentEnsemble:
    """Up to ``steps`` more steps θ ← θ − η ∇‖R‖²_F/(2Z) of every member, fewer of those that end before.

    The loss is looked at before each step: where the rule stops at it, or it is not finite, the parameters stay as they
    are. A divergence is a result, and no error. The loss after the last step is left to the next call, or to
    :func:`look`. When many have ended, the others go on in a smaller batch, so that the time is spent on those that
    move.

    Args:
        ensemble: where the members stand.
        problem: data and Z, in the precision of the networks.
        step_size: η.
        rule: when a member stops; its state is in the ensemble.
        steps: at most; 0 or more.
        progress: told between chunks how many of the steps are done.
    """
    eta = jnp.asarray(step_size, ensemble.loss.dtype)
    done = 0
    while done < steps and ensemble.going_on.size:
        progress("training", done, steps)
        count = min(CHUNK, steps - done)
        ensemble = _in_a_batch(ensemble, problem, eta, rule, count)
        done += count
    progress("training", steps, steps)
    return ensemble


def look(ensemble: DescentEnsemble, problem: Problem) -> DescentEnsemble:
    """The loss after the last step, which no step follows: it counts for the smallest, and may be a divergence."""
    return _look(ensemble, problem)


def _in_a_batch(
    ensemble: DescentEnsemble, problem: Problem, step_size: Float[Array, ""], rule: AbstractStoppingRule, count: int
) -> DescentEnsemble:
    """Advance those that go on, with the fewest halvings of the ensemble that hold them: few programs, little waste."""
    members, running = len(ensemble.end), ensemble.going_on
    size = members
    while size // 2 >= running.size:
        size //= 2
    if size == members:
        return _advance(ensemble, problem, step_size, rule, jnp.asarray(count))
    # What fills the batch up is computed and thrown away.
    chosen = np.concatenate([running, np.full(size - running.size, running[0])])
    arrays, rest = eqx.partition(ensemble, eqx.is_array)
    part = eqx.combine(jax.tree.map(lambda leaf: leaf[chosen], arrays), rest)
    advanced = eqx.filter(_advance(part, problem, step_size, rule, jnp.asarray(count)), eqx.is_array)
    whole = jax.tree.map(lambda old, new: old.at[running].set(new[: running.size]), arrays, advanced)
    return eqx.combine(whole, rest)


@eqx.filter_jit
def _advance(
    ensemble: DescentEnsemble,
    problem: Problem,
    step_size: Float[Array, ""],
    rule: AbstractStoppingRule,
    count: Int[Array, ""],
) -> DescentEnsemble:
    """``count`` steps, or fewer if all members end before; one compilation serves every count."""
    arrays, rest = eqx.partition(ensemble, eqx.is_array)

    def one(member: DescentEnsemble) -> DescentEnsemble:
        (loss, _), gradient = eqx.filter_value_and_grad(problem.loss, has_aux=True)(member.networks)
        rule_state, stops = rule.update(member.rule, loss)
        seen = _seen(member, loss)
        end = jnp.where((seen.end == GOES_ON) & stops, STOPPED, seen.end).astype(jnp.int32)
        moves = end == GOES_ON
        stepped = eqx.apply_updates(
            member.networks, jax.tree.map(lambda g: jnp.where(moves, -step_size * g, jnp.zeros_like(g)), gradient)
        )
        new = DescentEnsemble(
            stepped, rule_state, member.step + moves.astype(jnp.int32), seen.loss, seen.least_loss, end
        )
        return _kept(member, new)

    def body(carry: tuple[Int[Array, ""], DescentEnsemble]) -> tuple[Int[Array, ""], DescentEnsemble]:
        step, arrays = carry
        return step + 1, jax.vmap(lambda leaves: eqx.filter(one(eqx.combine(leaves, rest)), eqx.is_array))(arrays)

    def goes_on(carry: tuple[Int[Array, ""], DescentEnsemble]) -> Bool[Array, ""]:
        step, arrays = carry
        return (step < count) & jnp.any(arrays.end == GOES_ON)

    _, arrays = jax.lax.while_loop(goes_on, body, (jnp.zeros_like(count), arrays))
    return eqx.combine(arrays, rest)


@eqx.filter_jit
def _look(ensemble: DescentEnsemble, problem: Problem) -> DescentEnsemble:
    arrays, rest = eqx.partition(ensemble, eqx.is_array)

    def one(leaves: DescentEnsemble) -> DescentEnsemble:
        member = eqx.combine(leaves, rest)
        return eqx.filter(_kept(member, _seen(member, problem.loss(member.networks)[0])), eqx.is_array)

    return eqx.combine(jax.vmap(one)(arrays), rest)


def _seen(member: DescentEnsemble, loss: Float[Array, ""]) -> DescentEnsemble:
    """One member with one more loss: the last, perhaps the smallest, perhaps a divergence."""
    finite = jnp.isfinite(loss)
    least = jnp.where(finite, jnp.minimum(member.least_loss, loss), member.least_loss)
    end = jnp.where(finite, member.end, DIVERGED).astype(jnp.int32)
    return DescentEnsemble(member.networks, member.rule, member.step, loss, least, end)


def _kept(old: DescentEnsemble, new: DescentEnsemble) -> DescentEnsemble:
    """The new one, or the old one where it had ended already."""
    ended = old.end != GOES_ON

    def chosen(before: Any, after: Any) -> Any:
        return jnp.where(ended, before, after) if eqx.is_array(after) else after

    return jax.tree.map(chosen, old, new)
