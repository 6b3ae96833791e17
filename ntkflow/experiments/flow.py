"""The `flow` kind: a block-structured gradient flow from single initial states, or from an ensemble of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ntkflow import scenario as schema
from ntkflow.errors import ScenarioError
from ntkflow.experiments.flow_ensemble import run_flow_ensemble
from ntkflow.experiments.flow_observations import observe
from ntkflow.experiments.flow_results import flow_summary, flow_tree
from ntkflow.experiments.flow_states import made_state, refuse_without_invariant, state_from_file
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.settings import block_kernel, integration, named_key, time_grid
from ntkflow.flows import SampleFlow, SampleState, Trajectory, describe_loss_scale, loss_scale_value, solve
from ntkflow.kernels import BlockKernel
from ntkflow.progress import Progress
from ntkflow.report import flow_drawings


def run_flow(scenario: schema.FlowScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Integrate every case, or every member of the ensemble, of a flow scenario.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told after each case, or after each chunk of members.

    Raises:
        DataError: an initial state's file that cannot be used.
        ScenarioError: a kernel without an invariant.
        SolverError: the solver gave up on a case, or on all members.
        UserError: an ensemble that needs more memory than there is.
    """
    if scenario.ensemble is not None:
        return run_flow_ensemble(scenario, scenario.ensemble, text=text, progress=progress)
    return _run_cases(scenario, scenario.cases or (), folder, text, progress)


def _run_cases(
    scenario: schema.FlowScenario,
    cases: tuple[schema.FlowCase, ...],
    folder: Path,
    text: str,
    progress: Progress,
) -> Outcome:
    started = time.perf_counter()
    kernel = block_kernel(scenario.kernel, scenario.problem)
    refuse_without_invariant(kernel, "kernel")
    loss_scale = loss_scale_value(scenario.loss_scale, samples=kernel.samples, outputs=kernel.classes)
    times = time_grid(scenario.time)
    trajectories: list[Trajectory[Any]] = []
    observed: list[dict[str, np.ndarray]] = []
    for index, case in enumerate(cases):
        progress("integrating", index, len(cases))
        label = f"case {case.name!r}"
        try:
            state = _initial_state(case, scenario, kernel, folder)
            trajectory = solve(
                SampleFlow(kernel, loss_scale=loss_scale),
                state,
                times,
                integration(scenario.solver),
                representation=scenario.representation,
                samples=scenario.samples,
                name=label,
            )
        except ValueError as error:
            raise ScenarioError(
                str(error), place=label, remedy="Change the initial state, the kernel or the representation."
            ) from error
        trajectories.append(trajectory)
        observed.append(observe(trajectory, samples=scenario.samples))
    progress("integrating", len(cases), len(cases))
    seconds = time.perf_counter() - started
    z = describe_loss_scale(scenario.loss_scale, loss_scale)
    names = [case.name for case in cases]
    tree = flow_tree(scenario, names, trajectories, observed, z, text)
    return Outcome(
        tree=tree,
        summary=flow_summary(scenario, names, trajectories, observed, z, seconds),
        drawings=flow_drawings(tree),
        timings={"integrating": seconds},
    )


def _initial_state(
    case: schema.FlowCase, scenario: schema.FlowScenario, kernel: BlockKernel, folder: Path
) -> SampleState:
    if isinstance(case.initial, schema.FileState):
        return state_from_file(folder / case.initial.path, scenario.problem)
    key = named_key(scenario.seed, "initial state", case.name)
    return made_state(key, case.initial, kernel, scenario.problem.features)
