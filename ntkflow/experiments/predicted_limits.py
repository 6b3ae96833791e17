"""Where the block flow from a snapshot ends, and where training went: verdicts with their evidence."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.collapse import STATEMENTS, CollapsePrediction, predict
from ntkflow.flows import ClassState
from ntkflow.results import Cell, Column, Table
from ntkflow.training import Problem, Snapshot

_ROUNDING = float(jnp.finfo(jnp.float32).eps)
_METRICS = {
    "NC1": "nc1_trace_ratio",
    "NC2": "nc2_etf_distance",
    "NC3": "nc3_unit_means",
    "NC4": "nc4_disagreement",
}
"""The metric that says how far a run is from each statement."""


def limit_tables(snapshots: Sequence[Snapshot], problem: Problem) -> tuple[Table, ...]:
    """Verdicts on the limit of the flow (25) from every snapshot, and its scatter, beside the end of the run.

    Args:
        snapshots: all measured moments, the end of training last.
        problem: data.
    """
    end = snapshots[-1]
    verdicts: list[tuple[Cell, ...]] = []
    scatter: list[tuple[Cell, ...]] = []
    for item in snapshots[:-1]:
        try:
            made = predict(item.state, item.feature_kernel.block.kernel, targets=_unrounded(problem.targets))
        except ValueError as error:
            verdicts.append((item.label, "all", "not defined", str(error), None, None))
            continue
        verdicts += _rows(made, item, end)
        floor, ceiling = made.scatter_floor, made.scatter_ceiling
        scatter.append((item.label, _scatter(item, problem), floor, ceiling, _scatter(end, problem)))
    meaning = "; ".join(f"{name}: {text}" for name, text in STATEMENTS.items())
    table = Table(
        "Where the block flow from each snapshot ends, and where training went",
        (
            Column("snapshot", "", "The state and the block values of Θʰ that the verdict starts from."),
            Column("statement", "", f"{meaning}."),
            Column(
                "block flow",
                "",
                "Whether it holds in the limit t → ∞ of the flow (25) with these three values held constant, from its "
                "conserved quantities, without integrating. It knows of no weight decay.",
            ),
            Column("because", "", "The condition that decides, with its number, and what is assumed besides."),
            Column(
                "then",
                "1",
                "residual: ‖R‖. NC1: Tr Σ_W/Tr Σ_B. NC2: distance from an ETF. NC3: of W from the class "
                "means scaled to unit length. NC4: share of samples whose largest logit is not that of the nearest "
                "class mean. At the snapshot; all are 0 where the statement holds.",
            ),
            Column("at the end", "1", f"The same of the run at {end.label}."),
        ),
        tuple(verdicts),
        "A verdict is about the limit of a model, not about the run: where they differ, the change of Θʰ, weight decay "
        "or the length of the run has the say. Targets of a run in float32 are taken without their rounding.",
    )
    if not scatter:
        return (table,)
    bounds = Table(
        "Scatter within classes: bounds of the block flow, and the end of training",
        (
            Column("snapshot", "", "Where the bounds start from."),
            Column(
                "Tr S then",
                "1",
                "S = H₂H₂ᵀ, the sum over classes of the covariances within them (divisor m), at the snapshot.",
            ),
            Column("at least", "1", "What the conserved quantities leave of it at all later times of the block flow."),
            Column("at most", "1", "What it is at most in the limit."),
            Column("Tr S at the end", "1", f"Of the run at {end.label}."),
        ),
        tuple(scatter),
    )
    return table, bounds


def _unrounded(targets: Float[Array, "classes classes"]) -> Float[Array, "classes classes"]:
    """Targets I + t1ᵀ of a run in float32 without its rounding, which would make them others; others as they are."""
    identity = jnp.eye(targets.shape[0])
    nearest = identity + jnp.mean(targets - identity, axis=1, keepdims=True)
    return nearest if bool(jnp.abs(targets - nearest).max() <= _ROUNDING) else targets


def _rows(made: CollapsePrediction, item: Snapshot, end: Snapshot) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for verdict in made.verdicts:
        given = f" (if {verdict.assuming})" if verdict.assuming else ""
        then, finally_ = (_measure(verdict.statement, one) for one in (item, end))
        rows.append((item.label, verdict.statement, verdict.answer, f"{verdict.reason}{given}", then, finally_))
    return rows


def _measure(statement: str, item: Snapshot) -> float:
    if statement == "residual":
        return float(jnp.linalg.norm(item.residual))
    return item.metrics[_METRICS[statement]]


def _scatter(item: Snapshot, problem: Problem) -> float:
    within = ClassState.from_sample(item.state, problem.classes).within
    return float(jnp.sum(within**2))
