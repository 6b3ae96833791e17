"""What a comparison's summary says of the forecasts: sentences and tables over snapshots and models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ntkflow.comparison import LADDER, LIMIT, RUNGS, Model, SnapshotComparison
from ntkflow.kernels import EIGENSPACES
from ntkflow.results import Cell, Column, Table, format_number
from ntkflow.training import Snapshot

PARTS = tuple(name.replace("_", " ") for name in EIGENSPACES)
"""Names of the residual's parts in tables."""
_FEW = 3
"""More models than this share a sentence."""


def statement_on_forecasts(comparisons: Sequence[SnapshotComparison]) -> tuple[str, ...]:
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
            "Largest error of the norm of the slowest part that moves, over its first e-fold or to the end of the "
            f"forecast, in the forecasts from {places.pop()}: {values}.",
        )
    return tuple(
        f"{_capital(title)} forecast: the norm of the slowest part that moves is at most {100 * value:.2g} % off the "
        f"real one over its first e-fold, or to the end of the forecast, in the forecasts from {where}."
        for title, (value, where) in worst.items()
    )


def forecast_table(comparisons: Sequence[SnapshotComparison], z: str) -> Table:
    """The largest errors of every model until the slowest part's e-fold."""
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        for model, errors in item.errors.items():
            if errors.slowest is None:
                rows.append((item.snapshot.label, RUNGS[model].title, *[None] * 5))
                continue
            worst = errors.worst_within(item.times, item.snapshot.time, errors.duration)
            whole = errors.worst_total_within(item.times, item.snapshot.time, errors.duration)
            percent = (finite(100 * float(value)) for value in (*worst, whole))
            finished = errors.e_folds[errors.slowest] <= errors.duration * (1 + 1e-12)
            until: Cell = errors.duration if finished else f"> {format_number(errors.duration)}"
            rows.append((item.snapshot.label, RUNGS[model].title, *percent, until))
    error = (
        "Largest |‖R_e‖ forecast − ‖R_e‖ real|/‖R_e‖ real of this part within the e-fold. A forecast that falls far "
        "too low cannot be more than 100 % off."
    )
    return Table(
        "Forecasts beside the real run: errors within the first e-fold",
        (
            *_forecast_columns(comparisons),
            *(Column(name, "%", error) for name in PARTS),
            Column("whole R", "%", "The same for the norm ‖R‖ of the whole residual."),
            Column(
                "e-fold",
                "time",
                "How long the slowest part that moves takes to fall to 1/e of its norm; > : to the end of the "
                f"forecast, where it has not. A part moves if it falls by 10 % or more. Gradient-flow time, {z}.",
            ),
        ),
        tuple(rows),
        _slowest_parts(comparisons),
    )


def ladder_tables(comparisons: Sequence[SnapshotComparison], z: str) -> tuple[Table, ...]:
    """What each assumption adds; none with fewer than two rungs."""
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        if item.ladder is None:
            continue
        for index, model in enumerate(item.ladder.models):
            rows.append(
                (
                    item.snapshot.label,
                    PARTS[item.ladder.part],
                    item.ladder.time,
                    RUNGS[model].title,
                    finite(float(np.exp(item.ladder.log_ratios[index]))),
                    finite(float(item.ladder.added[index])),
                    finite(100 * float(item.ladder.shares[index])),
                    finite(float(item.ladder.moved[index])),
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
            Column("model", "", _assumptions(model for model in LADDER if model in comparisons[0].forecasts)),
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
        "within-class spectrum, which they keep."
        if "matrix_blocks" in comparisons[0].forecasts
        else "",
    )
    return (table,)


def state_tables(comparisons: Sequence[SnapshotComparison], snapshots: Sequence[Snapshot]) -> tuple[Table, ...]:
    """Errors of H, W and b at later snapshots; none where no forecast reaches one."""
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        for model, errors in item.state_errors.items():
            for label, three in zip([one.label for one in snapshots[-len(errors) :]], errors, strict=True):
                if np.isfinite(three).any():
                    percent = (finite(100 * float(value)) for value in three)
                    rows.append((item.snapshot.label, RUNGS[model].title, label, *percent))
    if not rows:
        return ()
    table = Table(
        "Features, weights and biases at later snapshots",
        (
            *_forecast_columns(comparisons),
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
        part = "no part" if slowest is None else PARTS[slowest]
        names.append(f"{part} from {item.snapshot.label}")
    return f"The slowest part that moves: {', '.join(names)}."


def horizon_table(comparisons: Sequence[SnapshotComparison], z: str) -> Table:
    """How long every model stays within the limit, part by part."""
    rows: list[tuple[Cell, ...]] = []
    for item in comparisons:
        reach = float(item.times[-1] - item.snapshot.time)
        for model, errors in item.errors.items():
            horizons = (
                f"> {format_number(reach)}" if math.isinf(value) else finite(value) for value in errors.horizons
            )
            rows.append((item.snapshot.label, RUNGS[model].title, *horizons))
    horizon = (
        f"How long this part's norm stays within {100 * LIMIT:g} % of the real one; gradient-flow time since the "
        f"snapshot, {z}. > : to the end of the forecast."
    )
    return Table(
        "Forecasts beside the real run: reliable horizons",
        (*_forecast_columns(comparisons), *(Column(name, "time", horizon) for name in PARTS)),
        tuple(rows),
    )


def _forecast_columns(comparisons: Sequence[SnapshotComparison]) -> tuple[Column, Column]:
    return (
        Column("snapshot", "", "When the kernels were measured and the forecast starts."),
        Column("model", "", _assumptions(comparisons[0].forecasts)),
    )


def finite(value: float) -> float | None:
    """A number for a cell, blank where there is none."""
    return value if math.isfinite(value) else None
