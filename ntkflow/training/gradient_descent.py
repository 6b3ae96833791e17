"""Full-batch gradient descent, all steps between two records in one compiled loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ntkflow.errors import DivergenceError
from ntkflow.kernels import stable_step_limit
from ntkflow.networks import AbstractClassifier
from ntkflow.progress import Progress, silent
from ntkflow.training.history import Checkpoint, History, log_spaced_after
from ntkflow.training.problem import Problem, residual_matrix

CHUNK = 256
"""Steps taken at most before the loop comes back to the host, where it can be interrupted."""


def descend(network: AbstractClassifier, problem: Problem, step_size: float | Array) -> AbstractClassifier:
    """One step θ ← θ − η ∇‖R‖²/(2Z). Gradient-flow time moves on by η."""
    return _descend(network, problem, step_size)[0]


@eqx.filter_jit
def descent_path(
    network: AbstractClassifier, problem: Problem, step_size: float | Array, steps: int
) -> AbstractClassifier:
    """The network before each of so many steps of full-batch descent, itself first.

    Returns:
        One network whose parameters have a leading axis of the steps.
    """
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)

    def body(at: AbstractClassifier, step: Array) -> tuple[AbstractClassifier, AbstractClassifier]:
        stepped, _ = _descend(eqx.combine(at, rest), problem, step_size)
        return eqx.filter(stepped, eqx.is_inexact_array), at

    return eqx.combine(jax.lax.scan(body, parameters, jnp.arange(steps))[1], rest)


def train_by_gradient_descent(
    network: AbstractClassifier,
    problem: Problem,
    *,
    step_size: float,
    steps: int,
    snapshots: Sequence[int],
    records: int = 200,
    progress: Progress = silent,
) -> History:
    """Train, and keep the residual's norms at every step, the residual at chosen steps, the network at the snapshots.

    Args:
        network: at step 0.
        problem: data and loss scale Z.
        step_size: η of the loss ‖R‖²/(2Z); time is η times the step.
        steps: how many.
        snapshots: steps whose network is kept.
        records: about how many steps have their whole residual kept, evenly spaced; after each snapshot there are
            as many again, dense at first, for the forecast that starts there.
        progress: told between chunks.

    Raises:
        DivergenceError: the loss left the finite numbers; says at which step and which step size Θ allows.
    """
    started = time.perf_counter()
    recorded = record_steps(steps, snapshots, records)
    at_record, at_snapshot = set(recorded.tolist()), set(snapshots)
    stops = sorted(at_record | at_snapshot)
    norms = [np.empty((0, 3))]
    residuals: list[np.ndarray] = []
    checkpoints: list[Checkpoint] = []
    initial, step = network, 0
    for stop in stops:
        while step < stop:
            count = min(CHUNK, stop - step)
            network, chunk = _advance(network, problem, jnp.asarray(step_size), jnp.asarray(count))
            norms.append(_finite(np.asarray(chunk)[:count], step, initial, problem, step_size))
            step += count
            progress("training", step, steps)
        residual = residual_matrix(problem, network)
        if stop in at_record:
            residuals.append(np.asarray(residual))
        if stop in at_snapshot:
            checkpoints.append(Checkpoint(time=step * step_size, step=step, network=network))
    last = np.asarray(problem.loss(network)[1])[None]
    norms.append(_finite(last, steps, initial, problem, step_size))
    return History(
        norm_times=step_size * np.arange(steps + 1),
        norms=np.concatenate(norms),
        times=step_size * recorded,
        steps=recorded,
        residuals=np.stack(residuals),
        checkpoints=tuple(checkpoints),
        final=network,
        seconds=time.perf_counter() - started,
    )


def record_steps(steps: int, snapshots: Sequence[int], records: int) -> Int[np.ndarray, " records"]:
    """The steps whose whole residual is kept: evenly spaced ones, and some dense after each snapshot."""
    even = np.linspace(0, steps, min(records, steps + 1))
    dense = [np.append(log_spaced_after(start, steps, records), start) for start in snapshots]
    return np.unique(np.rint(np.concatenate([even, *dense])).astype(int))


def _descend(
    network: AbstractClassifier, problem: Problem, step_size: float | Array
) -> tuple[AbstractClassifier, Float[Array, "3"]]:
    gradient, norms = eqx.filter_grad(problem.loss, has_aux=True)(network)
    return eqx.apply_updates(network, jax.tree.map(lambda g: -step_size * g, gradient)), norms


@eqx.filter_jit
def _advance(
    network: AbstractClassifier, problem: Problem, step_size: Float[Array, ""], count: Int[Array, ""]
) -> tuple[AbstractClassifier, Float[Array, "chunk 3"]]:
    """``count`` ≤ CHUNK steps and the residual norms before each; one compilation serves every count."""
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)

    def body(i: Int[Array, ""], carry: tuple[AbstractClassifier, Array]) -> tuple[AbstractClassifier, Array]:
        parameters, norms = carry
        stepped, before = _descend(eqx.combine(parameters, rest), problem, step_size)
        return eqx.filter(stepped, eqx.is_inexact_array), norms.at[i].set(before)

    parameters, norms = jax.lax.fori_loop(0, count, body, (parameters, jnp.zeros((CHUNK, 3))))
    return eqx.combine(parameters, rest), norms


def _finite(
    norms: Float[np.ndarray, "steps 3"], first: int, initial: AbstractClassifier, problem: Problem, step_size: float
) -> Float[np.ndarray, "steps 3"]:
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite((norms**2).sum(axis=1)))
    if bad.size == 0:
        return norms
    if first + bad[0] == 0:
        raise DivergenceError(
            "the loss of the untrained network is not finite",
            remedy="Look at the inputs' scale and the initialisation.",
        )
    limit = stable_step_limit(initial, problem.inputs, problem.loss_scale)
    comparison = "is above it" if step_size > limit else "is below it, but the kernel has grown since"
    raise DivergenceError(
        f"the loss overflowed at step {first + bad[0]} of gradient descent with step size {step_size:g}",
        place="training.step_size",
        remedy=f"The kernel of the initial network allows steps up to 2Z/lambda_max = {limit:.3g} (Z = "
        f"{problem.loss_scale:g}); {step_size:g} {comparison}. Try {limit / 4:.2g}.",
    )
