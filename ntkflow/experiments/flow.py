"""The `flow` kind: a block-structured gradient flow from given or random initial states."""

from __future__ import annotations

import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.collapse import METRICS, collapse_metrics
from ntkflow.data import read_archive
from ntkflow.errors import DataError
from ntkflow.experiments.outcome import Outcome, Variable, dataset, scenario_group
from ntkflow.experiments.settings import block_kernel, integration, named_key, time_grid
from ntkflow.flows import (
    ClassFlow,
    ClassState,
    InvariantSides,
    SampleFlow,
    SampleState,
    Trajectory,
    describe_loss_scale,
    loss_scale_value,
    random_state,
    solve,
    zero_invariant_state,
)
from ntkflow.kernels import EIGENSPACES, BlockKernel
from ntkflow.progress import Progress
from ntkflow.report import flow_drawings
from ntkflow.results import Column, Quantity, Summary, Table


def run_flow(scenario: schema.FlowScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Integrate every case of a flow scenario.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told after each case.

    Raises:
        DataError: an initial state's file that cannot be used.
        SolverError: the solver gave up on a case.
    """
    started = time.perf_counter()
    problem, kernel = scenario.problem, block_kernel(scenario.kernel, scenario.problem)
    loss_scale = loss_scale_value(scenario.loss_scale, samples=kernel.samples, outputs=problem.classes)
    times = time_grid(scenario.time)
    trajectories, observed = [], []
    for index, case in enumerate(scenario.cases):
        progress("integrating", index, len(scenario.cases))
        state = _initial_state(case, scenario, kernel, folder)
        trajectory = _solve(scenario.representation, kernel, loss_scale, state, times, scenario, case.name)
        trajectories.append(trajectory)
        observed.append(jax.tree.map(np.asarray, _observe(trajectory.states, kernel)))
    progress("integrating", len(scenario.cases), len(scenario.cases))
    seconds = time.perf_counter() - started
    z = describe_loss_scale(scenario.loss_scale, loss_scale)
    tree = _tree(scenario, trajectories, observed, np.asarray(times), z, text)
    return Outcome(
        tree=tree,
        summary=_summary(scenario, trajectories, observed, kernel, z, seconds),
        drawings=flow_drawings(tree),
        timings={"integrating": seconds},
    )


def _initial_state(
    case: schema.FlowCase, scenario: schema.FlowScenario, kernel: BlockKernel, folder: Path
) -> SampleState:
    key, problem = named_key(scenario.seed, "initial state", case.name), scenario.problem
    match case.initial:
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
        case schema.FileState() as chosen:
            return _state_from_file(folder / chosen.path, problem)


def _state_from_file(path: Path, problem: schema.FeatureProblem) -> SampleState:
    arrays = read_archive(path, ("features", "weight", "bias"))
    n, classes = problem.features, problem.classes
    shapes = {
        "features": (n, classes * problem.samples_per_class),
        "weight": (classes, n),
        "bias": (classes,),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise DataError(
                f"array {name!r} has shape {arrays[name].shape}, but the scenario's problem asks for {shape}",
                place=str(path),
                remedy="Change problem in the scenario, or the file.",
            )
        if not np.isfinite(arrays[name]).all():
            raise DataError(f"array {name!r} has values that are NaN or infinite", place=str(path))
    return SampleState(**{name: jnp.asarray(array, dtype=float) for name, array in arrays.items()})


def _solve(
    representation: str,
    kernel: BlockKernel,
    loss_scale: float,
    state: SampleState,
    times: Float[Array, " times"],
    scenario: schema.FlowScenario,
    name: str,
) -> Trajectory[ClassState] | Trajectory[SampleState]:
    settings, label = integration(scenario.solver), f"case {name!r}"
    if representation == "sample":
        return solve(SampleFlow(kernel, loss_scale=loss_scale), state, times, settings, name=label)
    split = ClassState.from_sample(state, kernel.classes)
    return solve(ClassFlow(kernel, loss_scale=loss_scale), split, times, settings, name=label)


@eqx.filter_jit
def _observe(states: ClassState | SampleState, kernel: BlockKernel) -> dict[str, Float[Array, "times ..."]]:
    """The invariant and the collapse metrics at every saved time, without keeping n×n matrices of all times at once."""
    first = InvariantSides.of(jax.tree.map(lambda leaf: leaf[0], states), kernel)

    def one(state: ClassState | SampleState) -> dict[str, Float[Array, "..."]]:
        sides = InvariantSides.of(state, kernel)
        sample = state.to_sample() if isinstance(state, ClassState) else state
        return {
            "invariant_norm": sides.norm,
            "invariant_relative_norm": sides.norm / sides.scale,
            "invariant_alignment": sides.alignment,
            "invariant_drift": jnp.linalg.norm(sides.invariant - first.invariant) / first.scale,
            "bias": sample.bias,
            "weight_gram": sample.weight @ sample.weight.T,
            **collapse_metrics(sample.features, sample.weight, sample.bias),
        }

    return jax.lax.map(one, states)


def _tree(
    scenario: schema.FlowScenario,
    trajectories: list[Trajectory[ClassState] | Trajectory[SampleState]],
    observed: list[dict[str, np.ndarray]],
    times: np.ndarray,
    z: str,
    text: str,
) -> xr.DataTree:
    def stacked(name: str) -> np.ndarray:
        return np.stack([item[name] for item in observed])

    def final(index: int) -> SampleState:
        last = trajectories[index].state_at(-1)
        return last.to_sample() if isinstance(last, ClassState) else last

    unit = f"gradient-flow time ({z})"
    ends = [final(index) for index in range(len(trajectories))]
    variables: dict[str, Variable] = {
        "residual_norm": (
            ("case", "time", "part"),
            np.stack([np.asarray(item.residual_norms) for item in trajectories]),
            "1",
            "Frobenius norm of the residual's part",
        ),
        "loss": (("case", "time"), np.stack([np.asarray(item.losses) for item in trajectories]), "1", "‖R‖²/(2Z)"),
        "invariant_norm": (("case", "time"), stacked("invariant_norm"), "1", "‖E‖_F, E of paper 3 (26)"),
        "invariant_relative_norm": (
            ("case", "time"),
            stacked("invariant_relative_norm"),
            "1",
            "‖E‖_F over the sum of the Frobenius norms of its two sides",
        ),
        "invariant_alignment": (
            ("case", "time"),
            stacked("invariant_alignment"),
            "1",
            "cosine between WᵀW/m and the feature side of the invariant",
        ),
        "invariant_drift": (
            ("case", "time"),
            stacked("invariant_drift"),
            "1",
            "‖E(t) − E(0)‖_F over the sum of the Frobenius norms of both sides at t = 0",
        ),
        "bias": (("case", "time", "output"), stacked("bias"), "1", "b"),
        "weight_gram": (("case", "time", "output", "output_2"), stacked("weight_gram"), "1", "WWᵀ"),
        "final_features": (
            ("case", "feature", "sample"),
            np.stack([np.asarray(item.features) for item in ends]),
            "1",
            "H at the last time, samples sorted by class",
        ),
        "final_weight": (
            ("case", "output", "feature"),
            np.stack([np.asarray(item.weight) for item in ends]),
            "1",
            "W at the last time",
        ),
        **{name: (("case", "time"), stacked(name), "1", definition) for name, definition in METRICS.items()},
    }
    theory = dataset(
        variables, {"case": [case.name for case in scenario.cases], "time": times, "part": list(EIGENSPACES)}
    )
    theory["time"].attrs.update(units=unit, long_name="time since the initial state")
    return xr.DataTree.from_dict(
        {
            "/theory": theory,
            "/scenario": scenario_group(kind="flow", name=scenario.name, seed=scenario.seed, loss_scale=z, text=text),
        }
    )


def _summary(
    scenario: schema.FlowScenario,
    trajectories: list[Trajectory[ClassState] | Trajectory[SampleState]],
    observed: list[dict[str, np.ndarray]],
    kernel: BlockKernel,
    z: str,
    seconds: float,
) -> Summary:
    columns = (
        Column("case", "", "Name of the initial state."),
        Column("‖E‖ relative", "1", "‖E‖_F over the sum of the norms of the invariant's two sides, at t = 0."),
        Column("alignment", "1", "Cosine between the invariant's two sides at the last time."),
        Column("NC1 trace ratio", "1", METRICS["nc1_trace_ratio"] + " At the last time."),
        Column("NC2 ETF distance", "1", METRICS["nc2_etf_distance"] + " At the last time."),
        Column("NC3 unit means", "1", METRICS["nc3_unit_means"] + " At the last time."),
        Column("‖R‖ final", "1", "Frobenius norm of the whole residual at the last time."),
        Column("drift", "1", "Largest ‖E(t) − E(0)‖_F over the sum of the norms of both sides at t = 0."),
    )
    rows = tuple(
        (
            case.name,
            float(seen["invariant_relative_norm"][0]),
            float(seen["invariant_alignment"][-1]),
            float(seen["nc1_trace_ratio"][-1]),
            float(seen["nc2_etf_distance"][-1]),
            float(seen["nc3_unit_means"][-1]),
            float(np.linalg.norm(np.asarray(trajectory.residual_norms)[-1])),
            float(seen["invariant_drift"].max()),
        )
        for case, trajectory, seen in zip(scenario.cases, trajectories, observed, strict=True)
    )
    eigenvalues = [float(value) for value in kernel.eigenvalues]
    statements = (
        f"{len(rows)} initial states, C = {kernel.classes}, m = {kernel.per_class}, n = {scenario.problem.features}, "
        f"{z}; integrated to t = {scenario.time.end:g} as {scenario.representation} flow in {seconds:.1f} s.",
        f"Θʰ has the eigenvalues {eigenvalues[0]:.4g} (global mean), {eigenvalues[1]:.4g} (class means), "
        f"{eigenvalues[2]:.4g} (within class).",
    )
    return Summary(
        title=scenario.name,
        kind="flow",
        statements=((scenario.description.strip(),) if scenario.description.strip() else ()) + statements,
        quantities=(
            Quantity(
                "largest invariant drift",
                max(float(row[-1]) for row in rows),
                "1",
                "Over all cases and times: ‖E(t) − E(0)‖_F over the sum of the norms of both sides of E at t = 0. "
                "The flow conserves E, so this is the integration's own error.",
            ),
        ),
        tables=(Table("What each initial state leads to", columns, rows),),
        warnings=(),
    )
