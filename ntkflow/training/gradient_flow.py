"""The exact gradient flow of a network's parameters, integrated by Diffrax."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.flows import AbstractSquaredErrorFlow, Integration, solve
from ntkflow.kernels import split_eigenspaces
from ntkflow.networks import AbstractClassifier
from ntkflow.progress import Progress, silent
from ntkflow.training.history import Checkpoint, History, log_spaced_after
from ntkflow.training.problem import Problem

PIECE = 32
"""Saved times of one call to the solver: bounds the parameters held at once, and lets a run be interrupted."""


class ParameterFlow(AbstractSquaredErrorFlow[Any]):
    """θ̇ = −∇‖R‖²_F/(2Z) of a network's parameters; the state is the network's inexact arrays.

    What gradient descent becomes as its step goes to 0 (thesis, (2.48)). No invariant is known in general.
    """

    problem: Problem
    rest: Any
    loss_scale: Float[Array, ""]

    def __init__(self, network: AbstractClassifier, problem: Problem) -> None:
        self.problem = problem
        self.rest = eqx.filter(network, eqx.is_inexact_array, inverse=True)
        self.loss_scale = jnp.asarray(problem.loss_scale)

    def network(self, state: Any) -> AbstractClassifier:
        """The network with the state as its parameters."""
        return eqx.combine(state, self.rest)

    def vector_field(self, t: Float[Array, ""], state: Any, args: Any) -> Any:
        """Minus the gradient of the loss."""
        gradient, _ = eqx.filter_grad(lambda state: self.problem.loss(self.network(state)), has_aux=True)(state)
        return jax.tree.map(jnp.negative, gradient)

    def residual(self, state: Any) -> Float[Array, "outputs samples"]:
        """R = f(X) − Y."""
        return self.problem.residual(self.network(state))

    def residual_norms(self, state: Any) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return split_eigenspaces(self.residual(state), self.problem.classes).norms()

    def invariants(self, state: Any) -> dict[str, Float[Array, "..."]]:
        """None is known."""
        return {}


def train_by_gradient_flow(
    network: AbstractClassifier,
    problem: Problem,
    *,
    end_time: float,
    snapshots: Sequence[float],
    records: int = 400,
    integration: Integration,
    progress: Progress = silent,
) -> History:
    """Integrate the gradient flow of the parameters; keep the residual at many times, the network at the snapshots.

    Args:
        network: at time 0.
        problem: data and loss scale Z.
        end_time: gradient-flow time of ‖R‖²/(2Z).
        snapshots: times whose network is kept.
        records: how many evenly spaced times are kept; after each snapshot there are as many again, dense at first.
        integration: method and tolerances.
        progress: told between pieces.

    Raises:
        SolverError: the solver gave up; says when and what to change.
    """
    started = time.perf_counter()
    flow = ParameterFlow(network, problem)
    times = record_times(end_time, snapshots, records)
    state = eqx.filter(network, eqx.is_inexact_array)
    wanted: dict[int, list[float]] = {}
    for moment in snapshots:
        wanted.setdefault(int(np.argmin(np.abs(times - moment))), []).append(float(moment))
    norms, residuals, checkpoints = [], [], []
    # Neighbouring pieces share their boundary time; the first piece brings time 0.
    for first in range(0, len(times) - 1, PIECE):
        piece = times[first : first + PIECE + 1]
        trajectory = solve(flow, state, jnp.asarray(piece), integration, name="training by gradient flow")
        skip = 0 if first == 0 else 1
        norms.append(np.asarray(trajectory.residual_norms)[skip:])
        residuals.append(np.asarray(trajectory.residuals)[skip:])
        for index in range(skip, len(piece)):
            for moment in wanted.get(first + index, ()):
                checkpoints.append(Checkpoint(moment, step=None, network=flow.network(trajectory.state_at(index))))
        state = trajectory.state_at(-1)
        progress("training", float(piece[-1]), end_time)
    return History(
        norm_times=times,
        norms=np.concatenate(norms),
        times=times,
        steps=None,
        residuals=np.concatenate(residuals),
        checkpoints=tuple(checkpoints),
        final=flow.network(state),
        seconds=time.perf_counter() - started,
    )


def record_times(end_time: float, snapshots: Sequence[float], records: int) -> Float[np.ndarray, " times"]:
    """The times that are kept: evenly spaced ones, the snapshots themselves, and some dense after each snapshot.

    Their number is one more than a multiple of :data:`PIECE`, so that one compilation serves every piece.
    """
    dense = [log_spaced_after(start, end_time, records) for start in snapshots]
    fixed = np.unique(np.concatenate([[0.0, end_time], snapshots, *dense]))
    # Distinct up to rounding, or the solver would be asked for a step of zero length.
    fixed = fixed[np.append(True, np.diff(fixed) > 1e-9 * end_time)]
    fixed[-1] = end_time
    missing = records + (1 - len(fixed) - records) % PIECE
    # Halve the longest gaps, which is as good as even spacing and never meets a time that is there already.
    for _ in range(missing):
        gap = int(np.argmax(np.diff(fixed)))
        fixed = np.insert(fixed, gap + 1, (fixed[gap] + fixed[gap + 1]) / 2)
    return fixed
