"""The headline of an ensemble of block flows."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkflow import scenario as schema
from ntkflow.collapse import CLASS_METRICS, METRICS
from ntkflow.experiments.ensemble_tree import variable_name
from ntkflow.flows import Ensemble
from ntkflow.results import Column, Quantity, Summary, Table

COLLAPSED = 1e-3
"""A metric below this counts as collapsed."""
_SHOWN = ("nc1_trace_ratio", "nc2_etf_distance", "nc3_unit_means")
_MOST_ROWS = 30


def ensemble_summary(
    scenario: schema.FlowScenario,
    ensemble: schema.FlowEnsemble,
    tree: xr.DataTree,
    run: Ensemble,
    z: str,
    seconds: float,
) -> Summary:
    """How many members collapse, what the combinations lead to, and what went wrong."""
    theory, combined = tree["theory"].to_dataset(), tree["combinations"].to_dataset()
    last = {name: theory[name].to_numpy()[:, -1] for name in _SHOWN}
    good = ~run.failed
    collapsed = np.logical_and.reduce([values < COLLAPSED for values in last.values()])[good]
    share = float(collapsed.mean())
    # Members with other listed values are no draws of one distribution, and those of one repeat share their numbers.
    independent = not ensemble.listed and good.sum() > 1
    problem = scenario.problem
    varied = ", ".join(
        f"{item.key} ({len(item.values)} values)"
        if item.values is not None
        else f"{item.key} ({item.draw.replace('_', '-')} in [{item.low:g}, {item.high:g}])"
        for item in ensemble.vary
    )
    statements = [
        f"{run.members} members, {combined.sizes['combination']} combinations with {ensemble.repeats} random initial "
        f"states ({ensemble.initial.kind}) each; C = {problem.classes}, m = {problem.samples_per_class}, "
        f"n = {problem.features}, {z}; integrated to t = {scenario.time.end:g} by {run.integration.method}, "
        f"{run.chunk} at once, in {seconds:.1f} s.",
        f"Varied: {varied}." if varied else "Nothing varies but the random numbers.",
        *(f"Chosen by the first member: {choice}." for choice in run.choices),
        "Members are integrated in the form reduced by the invariant, without single samples; the metrics "
        f"{', '.join(name for name in METRICS if name not in CLASS_METRICS)} need them and are left out.",
    ]
    if ensemble.listed and ensemble.repeats > 1:
        statements.append(
            "The repeats of all combinations have the same random numbers: differences between combinations are known "
            "better than the standard errors of each."
        )
    quantities = (
        Quantity(
            "share collapsed",
            share,
            "1",
            f"Members with {', '.join(_SHOWN)} all below {COLLAPSED:g} at the last time, over all that did not fail."
            + (" The standard error is the binomial one." if independent else ""),
            float(np.sqrt(share * (1 - share) / good.sum())) if independent else None,
        ),
        Quantity(
            "least eigenvalue of the scatter",
            float(np.nanmin(theory["scatter_minimum"].to_numpy())),
            "1",
            "Over all members and times: the smallest eigenvalue of S over ‖W‖²_F. S is taken from the invariant E and "
            "has no negative eigenvalue; how far one is below 0 is rounding.",
        ),
    )
    described = (scenario.description.strip(),) if scenario.description.strip() else ()
    return Summary(
        title=scenario.name,
        kind="flow",
        statements=(*described, *statements),
        quantities=quantities,
        tables=_tables(ensemble, combined),
        warnings=tuple(_warnings(theory, run)),
    )


def _tables(ensemble: schema.FlowEnsemble, combined: xr.Dataset) -> tuple[Table, ...]:
    rows = combined.sizes["combination"]
    if rows > _MOST_ROWS:
        return ()
    columns = [Column(item.key, "1", f"The listed value of {item.key}.") for item in ensemble.listed]
    names = [variable_name(item.key) for item in ensemble.listed]
    columns.append(Column("members", "1", "Members that did not fail."))
    names.append("members")
    for name, title in (
        ("nc1_trace_ratio", "NC1 trace ratio"),
        ("nc2_etf_distance", "NC2 ETF distance"),
        ("nc3_unit_means", "NC3 unit means"),
        ("bias_mean", "mean bias"),
        ("residual_norm_all", "‖R‖ final"),
    ):
        definition = METRICS.get(name, combined[name].attrs["long_name"] + ".")
        columns.append(Column(title, "1", f"{definition} Mean over the repeats at the last time."))
        names.append(name)
        if ensemble.repeats > 1 and name in _SHOWN:
            columns.append(Column("±", "1", f"Standard error of the mean {title} over the repeats."))
            names.append(f"{name}_standard_error")
    cells = [combined[name].to_numpy().tolist() for name in names]
    return (Table("What each combination leads to", tuple(columns), tuple(zip(*cells, strict=True))),)


def _warnings(theory: xr.Dataset, run: Ensemble) -> list[str]:
    warnings = []
    if count := int(run.failed.sum()):
        warnings.append(
            f"The solver gave up on {count} of {run.members} members, which are NaN in the results and count nowhere: "
            "raise solver.max_steps, or loosen solver.rtol and solver.atol."
        )
    norms = np.linalg.norm(theory["residual_norm"].to_numpy(), axis=-1)
    unfit = int((norms[:, -1] > 1e-3 * norms[:, 0]).sum())
    if unfit:
        warnings.append(
            f"{unfit} of {run.members} members have more than a thousandth of their initial residual left at the last "
            "time: their final metrics are not limits."
        )
    return warnings
