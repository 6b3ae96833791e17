"""The `relaxation` kind: one initial state, and flows that each give up one assumption."""

from __future__ import annotations

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.relaxation_results import NOISE_SHOWN, relaxation_summary, relaxation_tree
from ntkflow.experiments.relaxed_flows import relaxed_flow
from ntkflow.experiments.relaxed_record import Recorder, jumps_of_invariant, record_over_times
from ntkflow.experiments.settings import block_kernel, integration, named_key, time_grid
from ntkflow.flows import (
    AbstractFlow,
    AccountedFlow,
    SampleState,
    VaryingValuesFlow,
    describe_loss_scale,
    loss_scale_value,
    random_state,
    solve,
    solve_paths,
    zero_invariant_state,
)
from ntkflow.kernels import BlockKernel
from ntkflow.progress import Progress
from ntkflow.report import relaxation_drawings


@dataclasses.dataclass(frozen=True)
class CaseRecord:
    """What became of one case.

    Attributes:
        values: by name, what was recorded at each saved time; for a noisy model its mean over the paths.
        errors: the standard error of those means; empty for the other models.
        step_effect: for a noisy model, how much twice the step would have changed the means of the table at the last
            time at most, in standard errors; None for the other models.
    """

    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    step_effect: float | None


def run_relaxation(scenario: schema.RelaxationScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Integrate every case of a relaxation scenario from the same initial state.

    Args:
        scenario: what to run.
        folder: where relative paths start; this kind has none.
        text: the resolved scenario, kept with the results.
        progress: told after each case.

    Raises:
        SolverError: the solver gave up on a case, or a noisy path blew up.
    """
    started = time.perf_counter()
    kernel = block_kernel(scenario.kernel, scenario.problem)
    loss_scale = loss_scale_value(scenario.loss_scale, samples=kernel.samples, outputs=kernel.classes)
    state, times = _initial_state(scenario, kernel), time_grid(scenario.time)
    records = {}
    for index, case in enumerate(scenario.cases):
        progress("integrating", index, len(scenario.cases))
        records[case.name] = _run(case, scenario, state, kernel, loss_scale, times)
    progress("integrating", len(scenario.cases), len(scenario.cases))
    seconds = time.perf_counter() - started
    z = describe_loss_scale(scenario.loss_scale, loss_scale)
    values = {name: record.values for name, record in records.items()}
    errors = {name: record.errors for name, record in records.items()}
    effects = {name: record.step_effect for name, record in records.items()}
    tree = relaxation_tree(scenario, np.asarray(times), values, errors, z, text)
    summary = relaxation_summary(scenario, values, errors, effects, z, seconds)
    return Outcome(tree=tree, summary=summary, drawings=relaxation_drawings(tree), timings={"integrating": seconds})


def _initial_state(scenario: schema.RelaxationScenario, kernel: BlockKernel) -> SampleState:
    key, problem = named_key(scenario.seed, "initial state"), scenario.problem
    match scenario.initial:
        case schema.RandomState() as chosen:
            return random_state(
                key,
                classes=problem.classes,
                per_class=problem.samples_per_class,
                features=problem.features,
                weight_scale=chosen.weight_scale,
                feature_scale=chosen.feature_scale,
                rectified=chosen.rectified,
            )
        case schema.ZeroInvariantState() as chosen:
            return zero_invariant_state(
                key,
                kernel,
                features=problem.features,
                feature_scale=chosen.feature_scale,
                within_scale=chosen.within_scale,
            )


def _run(
    case: schema.RelaxationCase,
    scenario: schema.RelaxationScenario,
    state: SampleState,
    kernel: BlockKernel,
    loss_scale: float,
    times: Float[Array, " times"],
) -> CaseRecord:
    key = named_key(scenario.seed, "model", case.name)
    flow, initial = relaxed_flow(case.model, state, kernel, loss_scale, key)
    model, label = case.model, f"case {case.name!r}"
    equal = (kernel.per_class,) * kernel.classes
    recorder = Recorder(flow, initial, model.sizes if isinstance(model, schema.UnequalClassesModel) else equal)
    if isinstance(model, schema.NoisyModel):
        return _run_paths(model, flow, initial, recorder, times, scenario.seed, label)
    saved = _with_jumps(flow, times)
    trajectory = solve(flow, initial, saved, integration(scenario.solver), name=label)
    recorded = record_over_times(recorder, saved, trajectory.states, _jumps(flow, saved, trajectory.states))
    kept = np.isin(np.asarray(saved), np.asarray(times))
    return CaseRecord({name: np.asarray(values)[kept] for name, values in recorded.items()}, {}, None)


def _run_paths(
    model: schema.NoisyModel,
    flow: Any,
    initial: Any,
    recorder: Recorder,
    times: Float[Array, " times"],
    seed: int,
    label: str,
) -> CaseRecord:
    # The same paths for every case of this seed, so that cases differ by their equations and not by their luck.
    run = functools.partial(
        solve_paths, flow, initial, times, key=named_key(seed, "noise"), paths=model.paths, observe=recorder, name=label
    )
    fine = run(step_size=model.step)
    coarse = run(step_size=2 * model.step, as_many_steps=fine.steps)
    effect = 0.0
    for _, name in NOISE_SHOWN:
        change = float(jnp.abs(fine.mean(name)[-1] - coarse.mean(name)[-1]))
        effect = max(effect, change / float(fine.standard_error(name)[-1])) if change else effect
    values = {name: np.asarray(fine.mean(name)) for name in fine.observed}
    errors = {name: np.asarray(fine.standard_error(name)) for name in fine.observed}
    values["invariant_law_error"] = np.full(times.size, np.nan)
    return CaseRecord(values, errors, effect)


def _with_jumps(flow: AbstractFlow[Any], times: Float[Array, " times"]) -> Float[Array, " solved"]:
    """The saved times, and those at which the invariant jumps."""
    if not _jumping(flow):
        return times
    inside = [t for t in np.asarray(flow.jump_times) if times[0] < t < times[-1]]  # pyright: ignore[reportAttributeAccessIssue]
    return jnp.asarray(np.union1d(np.asarray(times), inside))


def _jumps(flow: AbstractFlow[Any], times: Float[Array, " times"], states: Any) -> Float[Array, "times n n"] | None:
    if not _jumping(flow):
        return None
    return jumps_of_invariant(flow.flow, times, states.state)  # pyright: ignore[reportAttributeAccessIssue]


def _jumping(flow: AbstractFlow[Any]) -> bool:
    inner = flow.flow if isinstance(flow, AccountedFlow) else None
    return isinstance(inner, VaryingValuesFlow) and inner.interpolation == "constant"
