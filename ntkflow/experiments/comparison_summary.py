"""The headline of a comparison: how well each model forecasts, rate by rate and part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ntkflow.collapse import METRICS
from ntkflow.comparison import WINDOW, SnapshotComparison
from ntkflow.experiments.compared_run import ComparedRun
from ntkflow.experiments.comparison_forecasts import (
    PARTS,
    finite,
    forecast_table,
    horizon_table,
    ladder_tables,
    state_tables,
    statement_on_forecasts,
)
from ntkflow.experiments.predicted_limits import limit_tables
from ntkflow.results import Cell, Column, Quantity, Summary, Table, format_number
from ntkflow.training import History, Snapshot


def comparison_summary(
    run: ComparedRun,
    snapshots: Sequence[Snapshot],
    comparisons: Sequence[SnapshotComparison],
    seconds: Mapping[str, float],
) -> Summary:
    """Statements, tables and warnings of a finished comparison.

    Args:
        run: what was run.
        snapshots: all measured moments, the end of training last.
        comparisons: one for each snapshot but the last.
        seconds: wall time by stage.
    """
    z, description = run.z, run.description.strip()
    return Summary(
        title=run.name,
        kind=run.kind,
        statements=(
            *([description] if description else []),
            *run.statements,
            *statement_on_forecasts(comparisons),
            _statement_on_cost(seconds),
        ),
        quantities=_quantities(snapshots[-1], run.history, len(run.test_labels)),
        tables=(
            _rate_table(comparisons, run),
            forecast_table(comparisons, z),
            *ladder_tables(comparisons, z),
            *state_tables(comparisons, snapshots),
            horizon_table(comparisons, z),
            _kernel_table(snapshots),
            _collapse_table(snapshots),
            *limit_tables(snapshots, run.problem),
        ),
        warnings=run.warnings + _warnings(run, snapshots, comparisons),
    )


def _quantities(last: Snapshot, history: History, test_samples: int) -> tuple[Quantity, ...]:
    loss = float((history.norms[-1] ** 2).sum())
    return (
        Quantity(
            "training accuracy", last.train_accuracy, "1", "Share of training samples classified right at the end."
        ),
        *_test_accuracy(last.test_accuracy, test_samples),
        Quantity("‖R‖² at the end", loss, "1", "Sum over outputs and training samples of the squared residual."),
        Quantity(
            "invariant alignment",
            float(last.invariant.alignment),
            "1",
            "Cosine between WᵀW/m and the feature side of the invariant (26) at the end, with the measured block "
            "values of Θʰ.",
        ),
    )


def _test_accuracy(share: float, samples: int) -> tuple[Quantity, ...]:
    if not samples:
        return ()
    return (
        Quantity(
            "test accuracy",
            share,
            "1",
            f"Share of the {samples} samples not trained on that are classified right at the end; binomial standard "
            "error.",
            standard_error=math.sqrt(share * (1 - share) / samples),
        ),
    )


def _rate_table(comparisons: Sequence[SnapshotComparison], run: ComparedRun) -> Table:
    mapping = ""
    if run.descents is not None:
        plain = all(descent.momentum == 0 for descent in run.descents)
        form = "−log|1 − ηr|/η" if plain else "−log|ϱ|(1 − β)/η with the larger root ϱ of descent with momentum β"
        mapping = f" Then what descent makes of that rate r, {form}."
    z = run.z
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        for part, name in enumerate(PARTS):
            measured = item.rates.measured[part]
            rows.append(
                (
                    item.snapshot.label,
                    name,
                    finite(measured.value),
                    finite(measured.curvature),
                    finite(float(item.rates.block[part])),
                    finite(float(item.rates.block_errors[part])),
                    finite(float(item.rates.whole[part])),
                )
            )
    return Table(
        "Decay rates, measured and predicted",
        (
            Column("snapshot", "", "When the kernels were measured."),
            Column("part", "", "Part of the residual: common to all samples, to a class, and what is left."),
            Column(
                "measured",
                "1/time",
                "−d log‖R_e‖/dt of the real run just after the snapshot, least squares over the window until log‖R_e‖ "
                f"has moved by {WINDOW:g} (at least five records); per unit of gradient-flow time, {z}.",
            ),
            Column(
                "±",
                "1/time",
                "Half the difference between the slopes of the window's two halves. Where the rate changes evenly over "
                "the window, at the snapshot itself it was off the fitted one by twice this.",
            ),
            Column(
                "block values",
                "1/time",
                "λ/Z, λ the eigenvalue of the block kernel nearest to the traced Θ (mean over outputs), paper 3 "
                "(13)–(15)." + mapping,
            ),
            Column("± ", "1/time", "Its standard error: jackknife over samples within their class."),
            Column("whole Θ", "1/time", "⟨R_e, (ΘR)_e⟩/(Z‖R_e‖²) with the whole measured Θ at the snapshot." + mapping),
        ),
        tuple(rows),
        "A negative rate is a part that grows.",
    )


def _kernel_table(snapshots: Sequence[Snapshot]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for snapshot in snapshots:
        for name, kernel in (("Θ", snapshot.logit_kernel), ("Θʰ", snapshot.feature_kernel)):
            if kernel is None:
                continue
            values, errors = kernel.block.values, kernel.block.standard_errors
            rows.append(
                (
                    snapshot.label,
                    name,
                    *(item for pair in zip(values, errors, strict=True) for item in map(float, pair)),
                    kernel.alignment,
                    kernel.block_share,
                    finite(snapshot.step_limit) if name == "Θ" else None,
                )
            )
    error = "Its standard error: jackknife over samples within their class."
    return Table(
        "Measured kernels",
        (
            Column("moment", "", "When it was measured; the last is the end of training."),
            Column("kernel", "", "Θ: mean over outputs k of Θ_{k,k}. Θʰ: mean over features p of Θʰ_{p,p}."),
            Column("d", "1", "Mean over the diagonal."),
            Column("± d", "1", error),
            Column("c", "1", "Mean over pairs of distinct samples of one class."),
            Column("± c", "1", error),
            Column("n", "1", "Mean over pairs of samples of two classes."),
            Column("± n", "1", error),
            Column(
                "alignment",
                "1",
                "With YᵀY, over all pairs, the diagonal included, thesis (2.63); a constant kernel has 1/√C.",
            ),
            Column(
                "block share",
                "1",
                "Share of the traced kernel's squared Frobenius norm that its nearest block kernel has.",
            ),
            Column("largest stable step", "time", "2Z/λ_max of Θ over all outputs and samples."),
        ),
        tuple(rows),
        "Values on the training samples.",
    )


def _collapse_table(snapshots: Sequence[Snapshot]) -> Table:
    return Table(
        "Neural collapse and the invariant",
        (
            Column("moment", "", "When it was measured; the last is the end of training."),
            *(Column(name, "1", definition) for name, definition in METRICS.items()),
            Column(
                "invariant",
                "1",
                "‖E‖_F of (26) over the sum of the norms of its two sides, measured block values of Θʰ.",
            ),
            Column("alignment", "1", "Cosine between the two sides of the invariant."),
        ),
        tuple(
            (
                snapshot.label,
                *(snapshot.metrics[name] for name in METRICS),
                float(snapshot.invariant.norm / snapshot.invariant.scale),
                float(snapshot.invariant.alignment),
            )
            for snapshot in snapshots
        ),
        "All metrics on the training samples; each is 0 at collapse.",
    )


def _statement_on_cost(seconds: Mapping[str, float]) -> str:
    """What measuring and forecasting took beside training."""
    parts = ", ".join(f"{name} {format_number(value, 3)} s" for name, value in seconds.items())
    theory = sum(value for name, value in seconds.items() if name != "training")
    share = theory / seconds["training"] if seconds.get("training", 0) > 0 else float("nan")
    beside = (
        f": measuring and forecasting took {format_number(share, 2)} times as long as training" if share > 0 else ""
    )
    return f"Wall time, compilation included: {parts}{beside}."


def _warnings(
    run: ComparedRun, snapshots: Sequence[Snapshot], comparisons: Sequence[SnapshotComparison]
) -> tuple[str, ...]:
    warnings = []
    if run.descents is not None:
        beyond = [
            f"{item.label} (η = {descent.step_size:g}, limit {format_number(limit)})"
            for item, descent in zip(snapshots, run.descents, strict=True)
            if descent.step_size > (limit := descent.stability_factor * item.step_limit)
        ]
        if beyond:
            warnings.append(
                f"The step is above the largest stable one at {', '.join(beyond)}: training runs at the edge of "
                "stability there, and gradient flow does not describe it."
            )
    off = []
    for item in comparisons:
        ratios = {model: _final_ratio(item, made.norms) for model, made in item.forecasts.items()}
        three, whole = ratios.get("three_values"), ratios.get("full_frozen")
        if three is not None and not 0.5 < three < 2:
            beside = "" if whole is None else f" (whole kernel: {format_number(whole, 2)})"
            off.append(f"{format_number(three, 2)} from {item.snapshot.label}{beside}")
    if off:
        warnings.append(
            "The three-value model's within-class residual ends at a multiple of the real one that is far from 1: "
            f"{', '.join(off)}. Where the whole frozen kernel does well at the same time, it is Assumption 3.2 that "
            "fails, not the kernel's constancy."
        )
    low = [
        item
        for item in snapshots
        if not item.feature_kernel.block.kernel.diagonal > item.feature_kernel.block.kernel.same_class
    ]
    if low:
        warnings.append(
            "The order d > c of Definition 3.1 does not hold for the measured Θʰ at "
            + ", ".join(item.label for item in low)
            + "."
        )
    return tuple(warnings)


def _final_ratio(item: SnapshotComparison, norms: np.ndarray) -> float | None:
    """Forecast over real within-class norm at the forecast's end; None where the real one is 0."""
    real = float(item.real_norms[-1, 2])
    return float(norms[-1, 2]) / real if real > 0 else None
