"""The `flow` kind with an ensemble: many block flows at once, each reduced by its invariant."""

from __future__ import annotations

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.collapse import class_metrics, equal_bias_constants
from ntkflow.experiments.ensemble_members import ensemble_members, member_flow, refuse_members
from ntkflow.experiments.ensemble_summary import ensemble_summary
from ntkflow.experiments.ensemble_tree import ensemble_tree
from ntkflow.experiments.flow_observations import scatter_minimum
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.settings import integration, time_grid
from ntkflow.flows import (
    AbstractFlow,
    Frame,
    InvariantFlow,
    InvariantSides,
    InvariantState,
    describe_loss_scale,
    loss_scale_value,
    solve_ensemble,
)
from ntkflow.kernels import BlockKernel
from ntkflow.progress import Progress
from ntkflow.report import ensemble_drawings

NEGATIVE = 1e-10
"""An eigenvalue of E counts as negative below minus this share of the norms of E's two sides."""


def run_flow_ensemble(
    scenario: schema.FlowScenario, ensemble: schema.FlowEnsemble, *, text: str, progress: Progress
) -> Outcome:
    """Integrate all members and record them at every saved time.

    Args:
        scenario: what to run.
        ensemble: its ensemble.
        text: the resolved scenario, kept with the results.
        progress: told after each chunk of members.

    Raises:
        ScenarioError: a member whose kernel violates the order, or has no invariant.
        SolverError: the solver gave up on all members.
        UserError: more memory would be needed than there is.
    """
    started = time.perf_counter()
    problem, times = scenario.problem, time_grid(scenario.time)
    samples = problem.classes * problem.samples_per_class
    loss_scale = loss_scale_value(scenario.loss_scale, samples=samples, outputs=problem.classes)
    members = ensemble_members(ensemble, scenario.seed)
    refuse_members(scenario, members)
    run = solve_ensemble(
        member_flow(scenario, ensemble, loss_scale),
        members.tree,
        times,
        integration(scenario.solver),
        observe=_kept,
        chunk=ensemble.chunk,
        name="the ensemble",
        progress=progress,
    )
    seconds = time.perf_counter() - started
    observed = _measured(run.observed, loss_scale)
    z = describe_loss_scale(scenario.loss_scale, loss_scale)
    tree = ensemble_tree(scenario, ensemble, members, run, observed, z, text)
    return Outcome(
        tree=tree,
        summary=ensemble_summary(scenario, ensemble, tree, run, z, seconds),
        drawings=ensemble_drawings(tree),
        timings={"integrating": seconds},
    )


class Kept(eqx.Module):
    """What is kept of a member at a saved time: everything else follows from it afterwards."""

    state: InvariantState
    kernel: BlockKernel
    eigenvalues: Float[Array, " dims"]


def _kept(flow: AbstractFlow[Any], state: InvariantState) -> Kept:
    assert isinstance(flow, InvariantFlow)
    # Called at every step at which some member is saved, so the decompositions wait until later.
    return Kept(state, flow.kernel, flow.eigenvalues)


def _measured(kept: Kept, loss_scale: float) -> dict[str, np.ndarray]:
    """Everything that is recorded, (members, times, …); NaN where a member had failed."""
    finite = np.logical_and.reduce(
        [np.isfinite(leaf).reshape(*leaf.shape[:2], -1).all(axis=-1) for leaf in jax.tree.leaves(kept)]
    )
    # Decompositions of what is not finite may not come to an end.
    whole = jax.tree.map(lambda leaf: np.where(np.isfinite(leaf), leaf, 0.0), kept)
    found = {name: np.array(values) for name, values in _measure(whole, jnp.asarray(loss_scale)).items()}
    for values in found.values():
        values[~finite] = np.nan
    return found


@eqx.filter_jit
def _measure(kept: Kept, loss_scale: Float[Array, ""]) -> dict[str, Float[Array, "members times ..."]]:
    return jax.lax.map(lambda member: jax.lax.map(lambda moment: measure(moment, loss_scale), member), kept)


def measure(kept: Kept, loss_scale: Float[Array, ""]) -> dict[str, Float[Array, "..."]]:
    """All numbers of one member at one time. None depends on the orthonormal basis of feature space."""
    state, kernel = kept.state, kept.kernel
    frame = Frame(jnp.eye(state.weight.shape[1]), None)
    flow = InvariantFlow(kernel, kept.eigenvalues, frame, loss_scale=loss_scale)
    split, classes = flow.class_state(state), flow.kernel.classes
    sides = InvariantSides.of(split, flow.kernel)
    norm = jnp.linalg.norm(flow.eigenvalues)
    bias = jnp.mean(state.bias)
    constants = equal_bias_constants(bias, flow.kernel)
    predicted = -constants / (1 - constants)
    return {
        "residual_norm": flow.residual_norms(state),
        "loss": flow.loss(state),
        **class_metrics(split.class_means, split.within, split.weight),
        "bias_mean": bias,
        "bias_spread": jnp.std(state.bias),
        "weight_cosine": _mean_cosine(state.weight @ state.weight.T, classes),
        "means_cosine": _mean_cosine(state.class_means.T @ state.class_means, classes),
        "predicted_weight_cosine": predicted[0],
        "predicted_means_cosine": predicted[1],
        "invariant_relative_norm": norm / sides.scale,
        "invariant_alignment": sides.alignment,
        "negative_directions": jnp.sum(flow.eigenvalues < -NEGATIVE * sides.scale, dtype=float),
        "scatter_minimum": scatter_minimum(flow, state),
    }


def _mean_cosine(gram: Float[Array, "vectors vectors"], count: int) -> Float[Array, ""]:
    lengths = jnp.sqrt(jnp.diagonal(gram))
    cosines = gram / (lengths[:, None] * lengths[None, :])
    return (jnp.sum(cosines) - jnp.trace(cosines)) / (count * (count - 1))
