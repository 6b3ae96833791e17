"""The cases of a `flow` scenario as labelled arrays, and their headline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ntkflow import scenario as schema
from ntkflow.collapse import CLASS_METRICS, METRICS
from ntkflow.experiments.flow_observations import INVARIANT
from ntkflow.experiments.outcome import Variable, dataset, scenario_group
from ntkflow.flows import AbstractBlockFlow, ClassFlow, InvariantFlow, SampleFlow, Trajectory
from ntkflow.kernels import EIGENSPACES
from ntkflow.results import Column, Quantity, Summary, Table

Observed = Sequence[dict[str, np.ndarray]]
Trajectories = Sequence[Trajectory[Any]]

_REPRESENTATIONS = {SampleFlow: "sample", ClassFlow: "class", InvariantFlow: "invariant"}


def flow_tree(
    scenario: schema.FlowScenario, names: list[str], trajectories: Trajectories, observed: Observed, z: str, text: str
) -> xr.DataTree:
    """Groups theory and scenario; the attributes of theory say how each case was integrated, and why so."""

    def stacked(values: Callable[[Trajectory[Any]], Any]) -> np.ndarray:
        return np.stack([np.asarray(values(item)) for item in trajectories])

    def recorded(name: str) -> np.ndarray:
        return np.stack([item[name] for item in observed])

    over_time = ("case", "time")
    ends = {id(item): _flow(item).class_state(item.state_at(-1)) for item in trajectories}
    variables: dict[str, Variable] = {
        "residual_norm": (
            (*over_time, "part"),
            stacked(lambda item: item.residual_norms),
            "1",
            "Frobenius norm of the residual's part",
        ),
        "loss": (over_time, stacked(lambda item: item.losses), "1", "‖R‖²/(2Z)"),
        **{
            name: (over_time, recorded(name), "1", definition)
            for name, definition in INVARIANT.items()
            if name in observed[0]
        },
        "bias": ((*over_time, "output"), recorded("bias"), "1", "b"),
        "weight_gram": ((*over_time, "output", "output_2"), recorded("weight_gram"), "1", "WWᵀ"),
        "final_class_means": (
            ("case", "feature", "class"),
            stacked(lambda item: ends[id(item)].class_means),
            "1",
            "class means of H at the last time",
        ),
        "final_weight": (
            ("case", "output", "feature"),
            stacked(lambda item: ends[id(item)].weight),
            "1",
            "W at the last time",
        ),
        **{
            name: (over_time, recorded(name), "1", definition)
            for name, definition in METRICS.items()
            if name in observed[0]
        },
    }
    if scenario.samples:
        variables["final_features"] = (
            ("case", "feature", "sample"),
            stacked(lambda item: _flow(item).sample_state(item.state_at(-1)).features),
            "1",
            "H at the last time, samples sorted by class",
        )
    theory = dataset(variables, {"case": names, "time": np.asarray(trajectories[0].times), "part": list(EIGENSPACES)})
    theory["time"].attrs.update(units=f"gradient-flow time ({z})", long_name="time since the initial state")
    theory.attrs.update(
        representation=_representation(trajectories[0]),
        solver="; ".join(f"{name}: {item.integration.method}" for name, item in zip(names, trajectories, strict=True)),
        choices="\n".join(_choices(names, trajectories)) or "nothing was left to choose",
    )
    return xr.DataTree.from_dict(
        {
            "/theory": theory,
            "/scenario": scenario_group(kind="flow", name=scenario.name, seed=scenario.seed, loss_scale=z, text=text),
        }
    )


def flow_summary(
    scenario: schema.FlowScenario,
    names: list[str],
    trajectories: Trajectories,
    observed: Observed,
    z: str,
    seconds: float,
) -> Summary:
    """What each initial state leads to, and the integration's own error."""
    derived = "scatter_minimum" in observed[0]
    columns = (
        Column("case", "", "Name of the initial state."),
        Column("‖E‖ relative", "1", "‖E‖_F over the sum of the norms of the invariant's two sides, at t = 0."),
        Column("alignment", "1", "Cosine between the invariant's two sides at the last time."),
        Column("NC1 trace ratio", "1", METRICS["nc1_trace_ratio"] + " At the last time."),
        Column("NC2 ETF distance", "1", METRICS["nc2_etf_distance"] + " At the last time."),
        Column("NC3 unit means", "1", METRICS["nc3_unit_means"] + " At the last time."),
        Column("‖R‖ final", "1", "Frobenius norm of the whole residual at the last time."),
        Column("least of S", "1", "Smallest eigenvalue of the scatter S over ‖W‖²_F, the least over all times.")
        if derived
        else Column("drift", "1", "Largest ‖E(t) − E(0)‖_F over the sum of the norms of both sides at t = 0."),
    )
    rows = tuple(
        (
            name,
            float(seen["invariant_relative_norm"][0]),
            float(seen["invariant_alignment"][-1]),
            float(seen["nc1_trace_ratio"][-1]),
            float(seen["nc2_etf_distance"][-1]),
            float(seen["nc3_unit_means"][-1]),
            float(np.linalg.norm(np.asarray(trajectory.residual_norms)[-1])),
            float(seen["scatter_minimum"].min() if derived else seen["invariant_drift"].max()),
        )
        for name, trajectory, seen in zip(names, trajectories, observed, strict=True)
    )
    if derived:
        check = Quantity(
            "least eigenvalue of the scatter",
            min(float(row[-1]) for row in rows),
            "1",
            "Over all cases and times: the smallest eigenvalue of S over ‖W‖²_F. S is taken from the invariant E, so a "
            "drift of E cannot be seen; S has no negative eigenvalue, and how far one is below 0 is rounding.",
        )
    else:
        check = Quantity(
            "largest invariant drift",
            max(float(row[-1]) for row in rows),
            "1",
            "Over all cases and times: ‖E(t) − E(0)‖_F over the sum of the norms of both sides of E at t = 0. "
            "The flow conserves E, so this is the integration's own error.",
        )
    kernel = _flow(trajectories[0]).kernel
    eigenvalues = [float(value) for value in kernel.eigenvalues]
    statements = [
        f"{len(rows)} initial states, C = {kernel.classes}, m = {kernel.per_class}, n = {scenario.problem.features}, "
        f"{z}; integrated to t = {scenario.time.end:g} as {_representation(trajectories[0])} flow in {seconds:.1f} s.",
        f"Θʰ has the eigenvalues {eigenvalues[0]:.4g} (global mean), {eigenvalues[1]:.4g} (class means), "
        f"{eigenvalues[2]:.4g} (within class).",
        *(f"Chosen: {choice}." for choice in _choices(names, trajectories)),
    ]
    if not scenario.samples:
        left_out = ", ".join(name for name in METRICS if name not in CLASS_METRICS)
        statements.append(f"Single samples were not kept (samples: false); the metrics {left_out} need them.")
    described = (scenario.description.strip(),) if scenario.description.strip() else ()
    return Summary(
        title=scenario.name,
        kind="flow",
        statements=(*described, *statements),
        quantities=(check,),
        tables=(Table("What each initial state leads to", columns, rows),),
        warnings=(),
    )


def _flow(trajectory: Trajectory[Any]) -> AbstractBlockFlow[Any]:
    assert isinstance(trajectory.flow, AbstractBlockFlow)
    return trajectory.flow


def _representation(trajectory: Trajectory[Any]) -> str:
    return _REPRESENTATIONS[type(trajectory.flow)]


def _choices(names: Sequence[str], trajectories: Trajectories) -> list[str]:
    """What was chosen and why: what is the same for all cases once, else with the name of the case."""
    of_all = [choice for choice in trajectories[0].choices if all(choice in item.choices for item in trajectories)]
    own = [
        f"{choice} (case {name!r})"
        for name, item in zip(names, trajectories, strict=True)
        for choice in item.choices
        if choice not in of_all
    ]
    return of_all + own
