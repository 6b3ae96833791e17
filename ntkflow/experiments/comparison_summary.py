"""The headline of a comparison: how well each model forecasts, rate by rate and part by part."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ntkflow import scenario as schema
from ntkflow.collapse import METRICS
from ntkflow.comparison import WINDOW, SnapshotComparison
from ntkflow.data import Dataset
from ntkflow.experiments.comparison_forecasts import (
    PARTS,
    finite,
    forecast_table,
    horizon_table,
    ladder_tables,
    state_tables,
    statement_on_forecasts,
)
from ntkflow.experiments.comparison_network import StartingMLP
from ntkflow.results import Cell, Column, Quantity, Summary, Table, format_number
from ntkflow.training import History, Snapshot


def comparison_summary(
    scenario: schema.ComparisonScenario,
    start: StartingMLP,
    dataset: Dataset,
    history: History,
    snapshots: Sequence[Snapshot],
    comparisons: Sequence[SnapshotComparison],
    *,
    z: str,
    step_size: float | None,
) -> Summary:
    """Statements, tables and warnings of a finished comparison.

    Args:
        scenario: what was run.
        start: the network before training.
        dataset: the data.
        history: of the training run.
        snapshots: all measured moments, the end of training last.
        comparisons: one for each snapshot but the last.
        z: how the loss scale reads.
        step_size: of gradient descent, or None for a flow.
    """
    first, last = snapshots[0], snapshots[-1]
    how = (
        f"exact gradient flow to t = {history.times[-1]:g}"
        if history.steps is None
        else f"{history.steps[-1]} full-batch gradient-descent steps of {step_size:g} (t = {history.times[-1]:g})"
    )
    built = start.built
    sizes = "-".join(map(str, [dataset.inputs[0].size, *built.hidden_widths, built.features, dataset.classes]))
    statements = (
        f"{dataset}.",
        *([f"{start.origin}."] if start.origin else []),
        f"{built.activation} network {sizes}, {first.network.parameter_count()} parameters, {how}, loss "
        f"‖R‖²/(2Z), {z}.",
        *statement_on_forecasts(comparisons),
    )
    return Summary(
        title=scenario.name,
        kind="comparison",
        statements=((scenario.description.strip(),) if scenario.description.strip() else ()) + statements,
        quantities=_quantities(last, history, len(dataset.test_labels)),
        tables=(
            _rate_table(comparisons, z, step_size),
            forecast_table(comparisons, z),
            *ladder_tables(comparisons, z),
            *state_tables(comparisons, snapshots),
            horizon_table(comparisons, z),
            _kernel_table(snapshots),
            _collapse_table(snapshots),
        ),
        warnings=_warnings(snapshots, comparisons, step_size),
    )


def _quantities(last: Snapshot, history: History, test_samples: int) -> tuple[Quantity, ...]:
    loss = float((history.norms[-1] ** 2).sum())
    return (
        Quantity(
            "training accuracy", last.train_accuracy, "1", "Share of training samples classified right at the end."
        ),
        Quantity(
            "test accuracy",
            last.test_accuracy,
            "1",
            f"Share of the {test_samples} samples not trained on that are classified right at the end; binomial "
            "standard error.",
            standard_error=math.sqrt(last.test_accuracy * (1 - last.test_accuracy) / test_samples)
            if test_samples
            else None,
        ),
        Quantity("‖R‖² at the end", loss, "1", "Sum over outputs and training samples of the squared residual."),
        Quantity(
            "invariant alignment",
            float(last.invariant.alignment),
            "1",
            "Cosine between WᵀW/m and the feature side of the invariant (26) at the end, with the measured block "
            "values of Θʰ.",
        ),
    )


def _rate_table(comparisons: Sequence[SnapshotComparison], z: str, step_size: float | None) -> Table:
    mapping = "" if step_size is None else " Then what descent makes of that rate r, −log|1 − ηr|/η."
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
            values, errors = kernel.block.values, kernel.block.standard_errors
            rows.append(
                (
                    snapshot.label,
                    name,
                    *(item for pair in zip(values, errors, strict=True) for item in map(float, pair)),
                    kernel.alignment,
                    kernel.block_share,
                    snapshot.step_limit if name == "Θ" else None,
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


def _warnings(
    snapshots: Sequence[Snapshot], comparisons: Sequence[SnapshotComparison], step_size: float | None
) -> tuple[str, ...]:
    warnings = []
    if step_size is not None:
        beyond = [item for item in snapshots if step_size > item.step_limit]
        if beyond:
            moments = ", ".join(f"{item.label} ({format_number(item.step_limit)})" for item in beyond)
            warnings.append(
                f"The step {step_size:g} is above the largest stable step 2Z/λ_max(Θ) at {moments}: training runs at "
                f"the edge of stability there, and gradient flow does not describe it."
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
