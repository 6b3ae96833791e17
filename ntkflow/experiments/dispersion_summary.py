"""The headline of a study of dispersion."""

from __future__ import annotations

import itertools

import numpy as np

from ntkflow.experiments.dispersion_run import DispersionRun
from ntkflow.experiments.dispersion_tree import MEANINGS, architecture_name
from ntkflow.initialization.estimate import LARGEST_SHARE
from ntkflow.results import Cell, Column, Quantity, Summary, Table


def dispersion_summary(run: DispersionRun) -> Summary:
    """Statements, the deepest networks of every architecture in a table, warnings where tails are heavy."""
    scenario = run.scenario
    description = scenario.description.strip()
    asked = scenario.monte_carlo
    drawn = "No networks are drawn." if asked is None else f"Up to {asked.samples} random networks for each point."
    what = (
        f"{scenario.activation} networks of one output, standard parametrisation, ‖x‖ = 1; "
        f"{len(scenario.sigma_w_squared)} values of σ_w² from {scenario.sigma_w_squared[0]:g} to "
        f"{scenario.sigma_w_squared[-1]:g}, depths from {run.depths.min()} to {run.depths.max()}. {drawn}"
    )
    exact = run.formulas["exact"]
    quantities = []
    if np.any(np.isfinite(exact)):
        quantities.append(Quantity("largest exact dispersion", float(np.nanmax(exact)), "1", MEANINGS["exact"] + "."))
    gap = _gap(run)
    if gap is not None:
        quantities.append(
            Quantity(
                "points within 3 standard errors",
                gap,
                "1",
                "Share of points, of those whose estimate is to be believed, where the exact dispersion is within "
                "three standard errors of the estimate.",
            )
        )
    return Summary(
        title=scenario.name,
        kind="dispersion",
        statements=(*([description] if description else []), what),
        quantities=tuple(quantities),
        tables=(_table(run),),
        warnings=_warnings(run),
    )


def _believed(run: DispersionRun) -> np.ndarray:
    assert run.measured is not None
    enough = run.measured["samples"] >= run.measured["samples_needed"] / 4
    return (run.measured["largest_share"] <= LARGEST_SHARE) & enough


def _gap(run: DispersionRun) -> float | None:
    scenario = run.scenario
    if run.measured is None or 0.0 not in scenario.sigma_b_squared or 1.0 not in scenario.cosines:
        return None
    at = (slice(None), slice(None), scenario.sigma_b_squared.index(0.0), scenario.cosines.index(1.0))
    used = _believed(run)[at] & np.isfinite(run.formulas["exact"])
    away = np.abs(run.measured["dispersion"][at] - run.formulas["exact"])
    # Of depth one Θ has no spread, and all that is left is rounding.
    return float(np.mean((away <= 3 * run.measured["standard_error"][at] + 1e-12)[used])) if used.any() else None


def _table(run: DispersionRun) -> Table:
    scenario = run.scenario
    rows: list[tuple[Cell, ...]] = []
    axes = (scenario.architectures, scenario.input_to_width, scenario.sigma_b_squared, scenario.cosines)
    for place in itertools.product(*(range(len(axis)) for axis in axes), range(len(scenario.sigma_w_squared))):
        which, over, bias, angle, index = place
        item = scenario.architectures[which]
        formula = scenario.sigma_b_squared[bias] == 0 and scenario.cosines[angle] == 1
        theory = [_cell(run.formulas[name][which, over, -1, index]) if formula else None for name in ("exact", "limit")]
        estimates: list[Cell] = [None, None]
        if run.measured is not None:
            at = (which, over, bias, angle, -1, index)
            estimates = [float(run.measured[name][at]) for name in ("dispersion", "standard_error")]
        rows.append(
            (
                architecture_name(item.width, item.first, item.last),
                scenario.input_to_width[over],
                scenario.sigma_b_squared[bias],
                scenario.cosines[angle],
                scenario.sigma_w_squared[index],
                str(run.depths[which, -1]),
                *theory,
                *estimates,
            )
        )
    return Table(
        "The deepest networks",
        (
            Column("hidden layers", "", "M neurons each, or on a line from M₁ to M₂."),
            Column("α₀", "1", "n_0/M."),
            Column("σ_b²", "1", "Variance of biases."),
            Column("cosine", "1", "Of the angle between x and x̃; 1: Θ(x, x)."),
            Column("σ_w²", "1", "Variance of weights times fan-in."),
            Column("depth", "", "L."),
            Column("exact", "1", MEANINGS["exact"] + "."),
            Column("limit", "1", MEANINGS["limit"] + "."),
            Column("estimate", "1", MEANINGS["dispersion"] + "."),
            Column("±", "1", MEANINGS["standard_error"] + "."),
        ),
        tuple(rows),
    )


def _cell(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _warnings(run: DispersionRun) -> tuple[str, ...]:
    if run.measured is None:
        return ()
    believed = _believed(run)
    if believed.all():
        return ()
    needed = float(run.measured["samples_needed"][~believed].max())
    return (
        f"At {int((~believed).sum())} of {believed.size} points the tail of Θ is too heavy for so few networks: one of "
        "them dominates Σ Θ², or a log-normal Θ of that spread would need more than four times as many. Estimates "
        f"there are likely too small, and so are their error bars. For 10 % about {needed:.2g} networks.",
    )
