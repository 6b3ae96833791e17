"""The headline of a comparison: how well each model forecasts, rate by rate and part by part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ntkflow import scenario as schema
from ntkflow.collapse import METRICS
from ntkflow.comparison import LADDER, LIMIT, RUNGS, WINDOW, Model, SnapshotComparison
from ntkflow.data import Dataset
from ntkflow.experiments.comparison_network import StartingMLP
from ntkflow.kernels import EIGENSPACES
from ntkflow.results import Cell, Column, Quantity, Summary, Table, format_number
from ntkflow.training import History, Snapshot

_FEW = 3
"""More models than this share a sentence."""
_PARTS = tuple(name.replace("_", " ") for name in EIGENSPACES)


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
        *_statement_on_forecasts(comparisons),
    )
    return Summary(
        title=scenario.name,
        kind="comparison",
        statements=((scenario.description.strip(),) if scenario.description.strip() else ()) + statements,
        quantities=_quantities(last, history, len(dataset.test_labels)),
        tables=(
            _rate_table(comparisons, z, step_size),
            _forecast_table(comparisons, z),
            *_ladder_tables(comparisons, z),
            *_state_tables(comparisons, snapshots),
            _horizon_table(comparisons, z),
            _kernel_table(snapshots),
            _collapse_table(snapshots),
        ),
        warnings=_warnings(snapshots, comparisons, step_size),
    )


def _statement_on_forecasts(comparisons: Sequence[SnapshotComparison]) -> tuple[str, ...]:
    """The worst error of the slowest moving part over that part's first e-fold, of each model, and where."""
    worst: dict[str, tuple[float, str]] = {}
    for model in comparisons[0].forecasts:
        known: dict[str, float] = {}
        for item in comparisons:
            errors = item.errors[model]
            if errors.slowest is not None:
                value = errors.worst_within(item.times, item.snapshot.time, errors.duration)[errors.slowest]
                if math.isfinite(value):
                    known[item.snapshot.label] = float(value)
        if known:
            worst[RUNGS[model].title] = max(known.values()), ", ".join(known)
    if len(worst) > _FEW and len(places := {where for _, where in worst.values()}) == 1:
        values = ", ".join(f"{title} {100 * value:.2g} %" for title, (value, _) in worst.items())
        return (
            "Largest error of the norm of the slowest part that moves, over its first e-fold or to the end of the run, "
            f"in the forecasts from {places.pop()}: {values}.",
        )
    return tuple(
        f"{_capital(title)} forecast: the norm of the slowest part that moves is at most {100 * value:.2g} % off the "
        f"real one over its first e-fold, or to the end of the run, in the forecasts from {where}."
        for title, (value, where) in worst.items()
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
        for part, name in enumerate(_PARTS):
            measured = item.rates.measured[part]
            rows.append(
                (
                    item.snapshot.label,
                    name,
                    _finite(measured.value),
                    _finite(measured.curvature),
                    _finite(float(item.rates.block[part])),
                    _finite(float(item.rates.block_errors[part])),
                    _finite(float(item.rates.whole[part])),
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


def _forecast_table(comparisons: Sequence[SnapshotComparison], z: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        for model, errors in item.errors.items():
            if errors.slowest is None:
                rows.append((item.snapshot.label, RUNGS[model].title, *[None] * 5))
                continue
            worst = errors.worst_within(item.times, item.snapshot.time, errors.duration)
            whole = errors.worst_total_within(item.times, item.snapshot.time, errors.duration)
            percent = (_finite(100 * float(value)) for value in (*worst, whole))
            finished = math.isfinite(errors.e_folds[errors.slowest])
            until: Cell = errors.duration if finished else f"> {format_number(errors.duration)}"
            rows.append((item.snapshot.label, RUNGS[model].title, *percent, until))
    error = (
        "Largest |‖R_e‖ forecast − ‖R_e‖ real|/‖R_e‖ real of this part within the e-fold. A forecast that falls far "
        "too low cannot be more than 100 % off."
    )
    return Table(
        "Forecasts beside the real run: errors within the first e-fold",
        (
            *_forecast_columns(),
            *(Column(name, "%", error) for name in _PARTS),
            Column("whole R", "%", "The same for the norm ‖R‖ of the whole residual."),
            Column(
                "e-fold",
                "time",
                "How long the slowest part that moves takes to fall to 1/e of its norm; > : to the end of the run, "
                f"where it has not. A part moves if it falls by 10 % or more. Gradient-flow time, {z}.",
            ),
        ),
        tuple(rows),
        _slowest_parts(comparisons),
    )


def _ladder_tables(comparisons: Sequence[SnapshotComparison], z: str) -> tuple[Table, ...]:
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        if item.ladder is None:
            continue
        for index, model in enumerate(item.ladder.models):
            rows.append(
                (
                    item.snapshot.label,
                    _PARTS[item.ladder.part],
                    item.ladder.time,
                    RUNGS[model].title,
                    _finite(float(np.exp(item.ladder.log_ratios[index]))),
                    _finite(float(item.ladder.added[index])),
                    _finite(100 * float(item.ladder.shares[index])),
                    _finite(float(item.ladder.moved[index])),
                )
            )
    if not rows:
        return ()
    table = Table(
        "The ladder: what each assumption adds to the error",
        (
            Column("snapshot", "", "When the kernels were measured and the forecast starts."),
            Column("part", "", "The slowest part of the residual that moves: what is judged."),
            Column("after", "time", f"Since the snapshot: that part's e-fold, or to the end; gradient-flow time, {z}."),
            Column("model", "", _assumptions(LADDER)),
            Column("ratio", "1", "‖R_e‖ forecast / ‖R_e‖ real then; 1 is right."),
            Column(
                "added",
                "1",
                "log of the ratio less that of the rung before: what this assumption adds. The first: what the "
                "constancy of Θʰ costs, and of a run by descent that it is no flow.",
            ),
            Column(
                "share",
                "%",
                "added over the last rung's log ratio: they add to 100; negative where an assumption mends the error.",
            ),
            Column(
                "moved",
                "1",
                "‖R_e − R_e of the rung before‖/‖R_e‖ real: directions count too. The first: from the real one.",
            ),
        ),
        tuple(rows),
        "Matrix blocks keep what couples two features, which the rungs before leave out, and leave out the "
        "within-class spectrum, which they keep.",
    )
    return (table,)


def _state_tables(comparisons: Sequence[SnapshotComparison], snapshots: Sequence[Snapshot]) -> tuple[Table, ...]:
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        for model, errors in item.state_errors.items():
            for label, three in zip([one.label for one in snapshots[-len(errors) :]], errors, strict=True):
                if np.isfinite(three).any():
                    percent = (_finite(100 * float(value)) for value in three)
                    rows.append((item.snapshot.label, RUNGS[model].title, label, *percent))
    if not rows:
        return ()
    table = Table(
        "Features, weights and biases at later snapshots",
        (
            *_forecast_columns(),
            Column("at", "", "The later snapshot, or the end of training."),
            *(
                Column(name, "%", f"‖{name} forecast − {name} real‖_F / ‖{name} real‖_F, on the training samples.")
                for name in ("H", "W", "b")
            ),
        ),
        tuple(rows),
        "Blank: it is 0 in the run.",
    )
    return (table,)


def _assumptions(models: Iterable[Model]) -> str:
    return " ".join(f"{_capital(RUNGS[name].title)}: {RUNGS[name].assumption}" for name in models)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _slowest_parts(comparisons: Sequence[SnapshotComparison]) -> str:
    names = []
    for item in comparisons:
        slowest = next(iter(item.errors.values())).slowest
        part = "no part" if slowest is None else _PARTS[slowest]
        names.append(f"{part} from {item.snapshot.label}")
    return f"The slowest part that moves: {', '.join(names)}."


def _horizon_table(comparisons: Sequence[SnapshotComparison], z: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        reach = float(item.times[-1] - item.snapshot.time)
        for model, errors in item.errors.items():
            horizons = (
                f"> {format_number(reach)}" if math.isinf(value) else _finite(value) for value in errors.horizons
            )
            rows.append((item.snapshot.label, RUNGS[model].title, *horizons))
    horizon = (
        f"How long this part's norm stays within {100 * LIMIT:g} % of the real one; gradient-flow time since the "
        f"snapshot, {z}. > : to the end of the forecast."
    )
    return Table(
        "Forecasts beside the real run: reliable horizons",
        (*_forecast_columns(), *(Column(name, "time", horizon) for name in _PARTS)),
        tuple(rows),
    )


def _forecast_columns() -> tuple[Column, Column]:
    return (
        Column("snapshot", "", "When the kernels were measured and the forecast starts."),
        Column("model", "", _assumptions(RUNGS)),
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
