"""Figures of a comparison, drawn from what its results file holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkflow.report.axes import EIGENSPACES, PART_LABELS, marks_of_few, part_legend, positive, time_label
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour, line, part_colour, rung_line

_LINES = ("full frozen", "three values")
"""The line styles of the two models that the first figure shows."""
_WIDE = (7.4, 3.6)


def comparison_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a comparison result."""
    return (
        Drawing(
            "residuals",
            "Residual: the real network and its forecasts",
            "Frobenius norms of the three parts of the residual R = f(X) − Y on the training samples against "
            f"gradient-flow time. Solid: the real network. {_words(tree)} Grey verticals: the snapshots at which "
            "kernels were measured and forecasts start; each panel has the forecasts from one of them.",
            lambda: _residuals(tree),
        ),
        *_ladder_drawings(tree),
        Drawing(
            "errors",
            "Error of the forecasts against their horizon",
            "Relative error |‖R_e‖ forecast − ‖R_e‖ real| / ‖R_e‖ real of each part, against the time since the "
            "snapshot, in units of the e-fold of the slowest part that moves (or of the time to the end of the "
            "forecast). Later snapshots are paler. Grey lines: 10 % and one e-fold.",
            lambda: _errors(tree),
        ),
        Drawing(
            "rates",
            "Decay rates by eigenspace: measured and predicted",
            "Rates −d log‖R_e‖/dt just after each snapshot. Circles: fitted to the real run, bars: half the difference "
            "between the slopes of the fitting window's halves. Squares: from the eigenvalue λ of the nearest block "
            "kernel of the measured Θ, r = λ/Z, bars: jackknife standard error over samples. Diamonds: from the whole "
            "measured Θ. For gradient descent both are −log|1 − ηr|/η. Rates that are not positive (a part that "
            "grows) are left out of the logarithmic axis and stand in the table.",
            lambda: _rates(tree),
        ),
        Drawing(
            "kernels",
            "Measured kernels",
            "Traced kernels, (1/C) Σ_k Θ_{k,k} and (1/n) Σ_p Θʰ_{p,p}, on the training samples sorted by class, at the "
            "first snapshot and at the end of training, each divided by its largest entry. Class blocks lie along the "
            "diagonal.",
            lambda: _kernels(tree),
        ),
        Drawing(
            "structure",
            "Block values and alignment over training",
            "Left: means of the traced Θʰ over its diagonal (d), pairs of one class (c) and pairs of two classes (n), "
            "with jackknife standard errors over samples. Right: alignment of the traced kernels with the labels, "
            "thesis (2.63), and the share of ‖Θʰ‖² that the nearest block kernel has. The last point is the end of "
            "training.",
            lambda: _structure(tree),
        ),
        Drawing(
            "collapse",
            "Neural collapse and the invariant",
            "Left: neural-collapse metrics at the snapshots and at the end of training, each divided by its value at "
            "the first snapshot. Right: cosine between the two sides of the invariant (26), WᵀW/m and the feature "
            "side, which is 1 if they are proportional, as collapse needs.",
            lambda: _collapse(tree),
        ),
    )


def _ladder_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    if "ladder" not in tree.children:
        return ()
    return (
        Drawing(
            "ladder",
            "The ladder: forecasts of the slowest part",
            "Norm of the slowest part of the residual that moves, over its value at the snapshot, against the time "
            "since the snapshot in units of that part's e-fold (or of the time to the end of the forecast). Thick: "
            "the real network. Each line: the forecast of one model of Θʰ.",
            lambda: _ladder(tree),
        ),
        Drawing(
            "assumptions",
            "What each assumption adds to the error",
            "log(‖R_e‖ forecast / ‖R_e‖ real) of the slowest part that moves after its first e-fold, or at the end of "
            "the run. A bar begins where the rung above it ends: its length is what this assumption adds. The number "
            "is the ratio itself, 1 if right.",
            lambda: _assumptions(tree),
        ),
    )


def _words(tree: xr.DataTree) -> str:
    shown = [title for _, title in _two_models(tree)]
    kinds = ("Dashed", "Dotted")
    return " ".join(f"{kind}: the forecast of {title}." for kind, title in zip(kinds, shown, strict=False))


def _two_models(tree: xr.DataTree) -> list[tuple[int, str]]:
    """Index and title of the first and the last rung where they were forecast, else of the first two models."""
    theory = _dataset(tree, "theory")
    models = [str(model) for model in theory["model"].to_numpy()]
    chosen = [models.index(model) for model in ("full_frozen", "three_values") if model in models]
    chosen = chosen or list(range(min(2, len(models))))
    return [(index, str(theory["model_title"].to_numpy()[index])) for index in chosen]


def _dataset(tree: xr.DataTree, group: str) -> xr.Dataset:
    return tree[group].to_dataset()


def _scale(tree: xr.DataTree) -> str:
    return str(tree["scenario"].attrs["loss_scale"])


def _residuals(tree: xr.DataTree) -> Figure:
    training, theory = _dataset(tree, "training"), _dataset(tree, "theory")
    starts = theory["snapshot_time"].to_numpy()
    count = len(starts)
    columns = 2 if count > 1 else 1
    rows = -(-count // columns)
    figure = Figure(figsize=(3.9 * columns if columns > 1 else 5.2, 3.0 * rows + 0.3))
    panels = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)).reshape(-1)
    times, norms = _thinned(training["norm_time"].to_numpy(), training["residual_norm"].to_numpy())
    # Time 0 has no place on a logarithmic axis: it is drawn at the first time after it.
    first = times[1]
    labels = [str(label) for label in theory["snapshot"].to_numpy()]
    for index, axes in enumerate(panels):
        if index >= count:
            axes.set_axis_off()
            continue
        for start in starts:
            axes.axvline(max(start, first), color=colour("grey"), linewidth=0.6)
        for part, name in enumerate(PART_LABELS):
            axes.loglog(np.maximum(times, first), positive(norms[:, part]), **line(name, "real"))
            for (model_index, _), style in zip(_two_models(tree), _LINES, strict=False):
                since = theory["forecast_time"].to_numpy()[index]
                made = theory["forecast_norm"].to_numpy()[index, model_index, :, part]
                axes.loglog(np.maximum(since, first), positive(made), **line(name, style))
        axes.set_title(f"from {labels[index]}")
        axes.set_ylim(bottom=max(norms[norms > 0].min() / 4, 1e-12))
    for axes in panels[max(count - columns, 0) : count]:
        axes.set_xlabel(time_label(_scale(tree)))
        axes.tick_params(labelbottom=True)
    for axes in panels[::columns]:
        axes.set_ylabel("‖R_e‖_F")
    free = panels[count] if count < len(panels) else panels[0]
    titles = [title for _, title in _two_models(tree)]
    part_legend(
        free,
        ["real", *_LINES[: len(titles)]],
        labels=["real", *titles],
        loc="center left" if free is not panels[0] else "lower left",
    )
    return figure


def _ladder(tree: xr.DataTree) -> Figure:
    theory, comparison, group = _dataset(tree, "theory"), _dataset(tree, "comparison"), _dataset(tree, "ladder")
    judged = [i for i, part in enumerate(group["ladder_part"].to_numpy()) if str(part) in EIGENSPACES]
    columns = 2 if len(judged) > 1 else 1
    rows = -(-max(len(judged), 1) // columns)
    figure = Figure(figsize=(3.9 * columns if columns > 1 else 5.2, 2.9 * rows + 1.2))
    panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, index in zip(panels, judged, strict=False):
        part = EIGENSPACES.index(str(group["ladder_part"].to_numpy()[index]))
        start = theory["snapshot_time"].to_numpy()[index]
        since = (theory["forecast_time"].to_numpy()[index] - start) / float(comparison["judged_time"][index])
        real = comparison["real_norm"].to_numpy()[index, :, part]
        marks = marks_of_few(since)
        axes.loglog(positive(since), positive(real / real[0]), color=colour("ink"), linewidth=2.6, marker=marks)
        for model_index, model in enumerate(theory["model"].to_numpy()):
            made = theory["forecast_norm"].to_numpy()[index, model_index, :, part]
            axes.loglog(positive(since), positive(made / real[0]), marker=marks, **rung_line(str(model)))
        axes.axvline(1.0, color=colour("grey"), linewidth=0.8)
        axes.set_title(f"{PART_LABELS[part]}, from {theory['snapshot'].to_numpy()[index]}")
        axes.set_xlim(left=1e-2)
        axes.set_ylim(bottom=max(np.nanmin(positive(real / real[0])) / 30, 1e-8))
        axes.set_xlabel("time since snapshot (e-folds)")
        axes.set_ylabel("‖R_e‖ over its first value")
    for axes in panels[len(judged) :]:
        axes.set_axis_off()
    handles = [Line2D([], [], color=colour("ink"), linewidth=2.6, label="real")]
    handles += [
        Line2D([], [], label=str(title), **rung_line(str(model)))
        for model, title in zip(theory["model"].to_numpy(), theory["model_title"].to_numpy(), strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if columns > 1 else 2, fontsize=9)
    return figure


def _assumptions(tree: xr.DataTree) -> Figure:
    group = _dataset(tree, "ladder")
    judged = [i for i, part in enumerate(group["ladder_part"].to_numpy()) if str(part) in EIGENSPACES]
    rungs, titles = group["rung"].to_numpy(), [str(title) for title in group["rung_title"].to_numpy()]
    columns = min(max(len(judged), 1), 3)
    rows = -(-max(len(judged), 1) // columns)
    figure = Figure(figsize=(1.9 + 2.1 * columns, (0.7 + 0.34 * len(rungs)) * rows))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    panels = grid.reshape(-1)
    place = np.arange(len(rungs))
    for axes, index in zip(panels, judged, strict=False):
        ends, added = group["log_ratio"].to_numpy()[index], group["added"].to_numpy()[index]
        colours = [rung_line(str(rung))["color"] for rung in rungs]
        axes.barh(place, added, left=ends - added, color=colours, height=0.62)
        axes.axvline(0.0, color=colour("ink"), linewidth=0.9)
        for row, end in enumerate(ends):
            if np.isfinite(end):
                axes.annotate(
                    f"{np.exp(end):.2g}",
                    (min(end, end - added[row]), row),
                    xytext=(-3, 0),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    fontsize=9,
                )
        low, high = axes.get_xlim()
        axes.set_xlim(low - 0.25 * (high - low), high)
        axes.set_title(f"from {group['snapshot'].to_numpy()[index]}")
        axes.set_xlabel("log(forecast / real)")
    for axes in panels[len(judged) :]:
        axes.set_axis_off()
    panels[0].set_yticks(place, titles)
    panels[0].invert_yaxis()
    return figure


def _thinned(times: np.ndarray, norms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """No more of the run's steps than a logarithmic axis can show; the first two are always there."""
    wanted = np.concatenate([[0], np.geomspace(1, len(times) - 1, 1000)])
    kept = np.unique(np.rint(wanted).astype(int))
    return times[kept], norms[kept]


def _errors(tree: xr.DataTree) -> Figure:
    comparison, theory = _dataset(tree, "comparison"), _dataset(tree, "theory")
    titles = [str(title) for title in theory["model_title"].to_numpy()]
    columns = min(len(titles), 3) if len(titles) != 4 else 2
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=((3.7 if columns < 3 else 2.9) * columns if columns > 1 else 5.2, 3.0 * rows + 0.4))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for model_index, (axes, title) in enumerate(zip(panels.reshape(-1), titles, strict=False)):
        for snapshot in range(theory.sizes["snapshot"]):
            judged = float(comparison["judged_time"][snapshot])
            unit = judged if judged > 0 else 1.0
            since = (theory["forecast_time"].to_numpy()[snapshot] - theory["snapshot_time"].to_numpy()[snapshot]) / unit
            for part, name in enumerate(PART_LABELS):
                error = comparison["norm_error"].to_numpy()[snapshot, model_index, :, part]
                opacity = 1.0 - 0.65 * snapshot / max(theory.sizes["snapshot"] - 1, 1)
                look = {"color": part_colour(name), "alpha": opacity, "linewidth": 1.4}
                axes.loglog(positive(since), positive(error), marker=marks_of_few(since), **look)
        axes.axhline(0.1, color=colour("grey"), linewidth=0.8)
        axes.axvline(1.0, color=colour("grey"), linewidth=0.8)
        axes.set_title(title)
        axes.set_ylim(1e-5, 3)
    for index, axes in enumerate(panels.reshape(-1)):
        if index >= len(titles):
            axes.set_axis_off()
        elif index + columns >= len(titles):
            axes.set_xlabel("time since snapshot (e-folds)")
            axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("relative error of ‖R_e‖")
    if len(titles) < panels.size:
        part_legend(panels[-1, -1], [], loc="center left")
    else:
        part_legend(panels[0, 0], [], loc="lower right")
    return figure


def _rates(tree: xr.DataTree) -> Figure:
    comparison, theory = _dataset(tree, "comparison"), _dataset(tree, "theory")
    figure = Figure(figsize=_WIDE)
    panels = figure.subplots(1, 3, sharey=True)
    labels = [str(label) for label in theory["snapshot"].to_numpy()]
    place = np.arange(len(labels))
    kinds: tuple[tuple[str, str, str, xr.Dataset, str | None], ...] = (
        ("measured", "o", "rate_measured", comparison, "rate_measured_curvature"),
        ("block values", "s", "rate_block", theory, "rate_block_standard_error"),
        ("whole kernel", "D", "rate_whole", theory, None),
    )
    for part, (axes, name) in enumerate(zip(panels, PART_LABELS, strict=True)):
        for offset, (label, marker, variable, dataset, error) in enumerate(kinds):
            value = positive(dataset[variable].to_numpy()[:, part])
            bars = None if error is None else np.nan_to_num(dataset[error].to_numpy()[:, part])
            if bars is not None:
                # A bar that reaches 0 or below would run off the logarithmic axis.
                bars = np.stack([np.minimum(bars, 0.95 * np.nan_to_num(value)), bars])
            axes.errorbar(
                place + 0.22 * (offset - 1),
                value,
                yerr=bars,
                fmt=marker,
                color=part_colour(name) if offset != 1 else colour("ink"),
                markerfacecolor=part_colour(name) if offset == 0 else "none",
                markersize=6,
                linestyle="none",
                linewidth=1.2,
                label=label,
            )
        axes.set_yscale("log")
        axes.set_title(name)
        axes.set_xticks(place, labels, rotation=30, ha="right")
        axes.margins(x=0.15)
    panels[0].set_ylabel(f"rate ({_scale(tree)})")
    panels[1].legend(loc="best", fontsize=9)
    return figure


def _kernels(tree: xr.DataTree) -> Figure:
    training = _dataset(tree, "training")
    # Of a run that is known by arrays Θ may be missing.
    shown = [pair for pair in (("logit_kernel", "Θ"), ("feature_kernel", "Θʰ")) if pair[0] in training]
    figure = Figure(figsize=(6.6, 0.4 + 2.9 * len(shown)))
    panels = figure.subplots(len(shown), 2, squeeze=False)
    moments = training["moment"].to_numpy()
    image: Any = None
    for row, (variable, name) in enumerate(shown):
        for column, index in enumerate((0, len(moments) - 1)):
            axes = panels[row, column]
            matrix = training[variable].to_numpy()[index]
            image = axes.imshow(matrix / matrix.max(), vmin=0, vmax=1, interpolation="nearest", aspect="equal")
            axes.set_title(f"{name}, {moments[index]}")
            axes.grid(False)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
    figure.colorbar(image, ax=panels, shrink=0.6, label="share of largest entry")
    return figure


def _structure(tree: xr.DataTree) -> Figure:
    training = _dataset(tree, "training")
    place = np.arange(training.sizes["moment"])
    labels = [str(label) for label in training["moment"].to_numpy()]
    figure = Figure(figsize=_WIDE)
    left, right = figure.subplots(1, 2)
    for value, (name, ink) in enumerate((("d", "purple"), ("c", "orange"), ("n", "sky"))):
        left.errorbar(
            place,
            training["feature_block_value"].to_numpy()[:, value],
            yerr=training["feature_block_standard_error"].to_numpy()[:, value],
            color=colour(ink),
            marker="o",
            capsize=2,
            label=name,
        )
    left.set_title("block values of Θʰ")
    left.set_ylim(bottom=0)
    left.legend(ncols=3)
    if "logit_alignment" in training:
        right.plot(place, training["logit_alignment"], color=colour("blue"), marker="o", label="alignment of Θ")
    right.plot(place, training["feature_alignment"], color=colour("vermillion"), marker="s", label="alignment of Θʰ")
    right.plot(place, training["feature_block_share"], color=colour("grey"), marker="D", label="block share of Θʰ")
    right.set_title("structure")
    right.set_ylim(0, 1.05)
    right.legend()
    for axes in (left, right):
        axes.set_xticks(place, labels, rotation=30, ha="right")
    return figure


def _collapse(tree: xr.DataTree) -> Figure:
    training = _dataset(tree, "training")
    place = np.arange(training.sizes["moment"])
    labels = [str(label) for label in training["moment"].to_numpy()]
    figure = Figure(figsize=_WIDE)
    left, right = figure.subplots(1, 2)
    shown = (
        ("nc1_trace_ratio", "blue", "o"),
        ("nc1_cdnv", "sky", "s"),
        ("nc2_etf_distance", "vermillion", "D"),
        ("nc3_unit_means", "green", "^"),
    )
    for name, ink, marker in shown:
        values = training[name].to_numpy()
        if values[0] > 0:  # One that starts at 0 has nothing to be divided by; it stands in the table.
            left.plot(place, values / values[0], color=colour(ink), marker=marker, label=name)
    left.axhline(1.0, color=colour("grey"), linewidth=0.8)
    left.set_ylim(bottom=0)
    left.set_title("metrics over their first value")
    left.legend(fontsize=9)
    right.plot(place, training["invariant_alignment"], color=colour("purple"), marker="o")
    right.set_title("alignment of the invariant's sides")
    right.set_ylim(0, 1.02)
    for axes in (left, right):
        axes.set_xticks(place, labels, rotation=30, ha="right")
    return figure
