"""Figures of a kernel regression: errors over time with their limits, the spectrum, accuracies."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkflow.report.axes import PART_LABELS, part_legend, positive, time_label
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour, line

_SETS = (("train", "blue"), ("test", "vermillion"))
_LIMIT = {"linestyle": (0, (4.0, 2.0)), "linewidth": 1.2}
_FLOOR = 1e-9
"""Nothing is shown below this share of a figure's largest value: there rounding is what is left."""


def regression_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a regression result."""
    steps = " Dots: gradient descent, at the time its steps amount to." if "descent" in tree else ""
    return (
        Drawing(
            "errors",
            "Training and test error",
            "Mean squared error over samples and outputs against gradient-flow time. Solid: the flow. Dashed: its "
            f"limit t → ∞, where it is above the axis.{steps} Band: one standard error over test samples.",
            lambda: _errors(tree),
        ),
        Drawing(
            "accuracy",
            "Training and test accuracy",
            "Share of samples whose largest output is that of their class against gradient-flow time. Solid: the flow. "
            f"Dashed: its limit t → ∞.{steps}",
            lambda: _accuracy(tree),
        ),
        *_ensemble_drawings(tree),
        *_depth_drawings(tree),
        *_spectrum_drawings(tree),
        Drawing(
            "residuals",
            "Training residual by part",
            "Norms of the training residual's global mean, class means and within-class part against gradient-flow "
            "time.",
            lambda: _residuals(tree),
        ),
    )


def _spectrum_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """Of kernels whose eigenspaces are known."""
    if "eigenvalue" not in tree["theory"]:
        return ()
    return (
        Drawing(
            "spectrum",
            "Spectrum of the kernel",
            "Left: eigenvalues on the training samples, the largest first; those that are 0 up to rounding are left "
            "out. The line marks the effective rank, the exponential of the spectrum's entropy. Right: share of the "
            "initial residual Y − f₀(X), squared, in the modes after the first so many: what is left when those are "
            "learnt.",
            lambda: _spectrum(tree),
        ),
    )


def _ensemble_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """Of infinitely wide networks alone."""
    if "ensemble_variance" not in tree["theory"]:
        return ()
    return (
        Drawing(
            "ensemble",
            "One network and the mean of many",
            "Mean squared error over test samples and outputs against gradient-flow time. Thick: of the mean over "
            "random starts. Thin: expected of a single infinitely wide network, larger by the variance over starts, "
            "which is drawn dotted. Dashed: limits t → ∞.",
            lambda: _ensemble(tree),
        ),
    )


def _depth_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """Where several depths were asked for."""
    if "depths" not in tree:
        return ()
    return (
        Drawing(
            "depths",
            "Accuracy by depth",
            "Share of test samples whose largest output is that of their class as t → ∞ against the number of hidden "
            "layers, with one standard error over test samples.",
            lambda: _depths(tree),
        ),
    )


def _depths(tree: xr.DataTree) -> Figure:
    depths = tree["depths"].to_dataset().sel(set="test")
    layers, shares = depths["hidden_layers"].to_numpy(), depths["accuracy"].to_numpy()
    error = np.sqrt(shares * (1 - shares) / int(tree["depths"].attrs["test_samples"]))
    figure = Figure()
    axes = figure.subplots()
    axes.errorbar(layers, shares, error, fmt="o-", markersize=4, linewidth=1.2, color=colour("vermillion"))
    axes.set(xlabel="hidden layers", ylabel="test accuracy as t → ∞")
    axes.set_xticks(layers, [str(item) for item in layers])
    return figure


def _ensemble(tree: xr.DataTree) -> Figure:
    figure = Figure()
    axes = figure.subplots()
    theory = tree["theory"].to_dataset().sel(set="test")
    error, variance = theory["squared_error"].to_numpy(), theory["ensemble_variance"].to_numpy()
    limit, limit_variance = float(theory["limit_squared_error"]), float(theory["limit_ensemble_variance"])
    axes.set(xscale="log", yscale="log")
    shown = (
        (error, limit, "vermillion", "mean of many", 2.2, "-"),
        (error + variance, limit + limit_variance, "purple", "one network", 1.2, "-"),
        (variance, limit_variance, "grey", "variance over starts", 1.2, ":"),
    )
    for values, end, ink, label, width, dashes in shown:
        axes.plot(_times(tree), values, color=colour(ink), label=label, linewidth=width, linestyle=dashes)
        axes.axhline(end, color=colour(ink), **_LIMIT)
    axes.set(xlabel=_label(tree), ylabel="mean squared test error")
    axes.legend()
    return figure


def _times(tree: xr.DataTree) -> np.ndarray:
    times = tree["theory"]["time"].to_numpy()
    # Time 0 has no place on a logarithmic axis: it is drawn at the first time after it.
    return np.maximum(times, times[1])


def _label(tree: xr.DataTree) -> str:
    return time_label(str(tree["scenario"].attrs["loss_scale"]))


def _errors(tree: xr.DataTree) -> Figure:
    figure = Figure()
    axes = figure.subplots()
    theory = tree["theory"].to_dataset()
    values = theory["squared_error"].to_numpy()
    # Before anything is drawn: descent that diverges may have errors that matplotlib cannot scale an axis to.
    shown = values[values > values.max() * _FLOOR]
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(shown.min() / 2, shown.max() * 3)
    spread = theory["squared_error_se"].to_numpy()[:, 1]
    axes.fill_between(
        _times(tree),
        np.maximum(values[:, 1] - spread, shown.min() / 10),
        values[:, 1] + spread,
        color=colour("vermillion"),
        alpha=0.2,
        linewidth=0,
    )
    _draw(axes, tree, "squared_error")
    axes.set_ylabel("mean squared error")
    return figure


def _accuracy(tree: xr.DataTree) -> Figure:
    figure = Figure()
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.04)
    _draw(axes, tree, "accuracy")
    axes.set_ylabel("accuracy")
    return figure


def _draw(axes: Axes, tree: xr.DataTree, variable: str) -> None:
    theory, times = tree["theory"].to_dataset(), _times(tree)
    low, high = axes.get_ylim()
    for index, (name, ink) in enumerate(_SETS):
        axes.plot(times, np.clip(theory[variable].to_numpy()[:, index], 0, None), color=colour(ink), label=name)
        limit = float(theory[f"limit_{variable}"].to_numpy()[index])
        if low < limit < high:
            axes.axhline(limit, color=colour(ink), **_LIMIT)
        if "descent" in tree:
            descent = tree["descent"].to_dataset()
            at, values = descent["time"].to_numpy(), descent[variable].to_numpy()[:, index]
            there = (at >= times[1]) & (at <= times[-1]) & (values > low) & (values < high)
            axes.plot(at[there], values[there], ".", color=colour(ink))
    axes.set_xlim(times[0], times[-1])
    axes.set_xlabel(_label(tree))
    handles, _ = axes.get_legend_handles_labels()
    handles.append(Line2D([], [], color=colour("grey"), label="limit", **_LIMIT))
    if "descent" in tree:
        handles.append(Line2D([], [], color=colour("grey"), marker=".", linestyle="none", label="descent"))
    axes.legend(handles=handles, loc="best")


def _spectrum(tree: xr.DataTree) -> Figure:
    theory = tree["theory"].to_dataset()
    figure = Figure(figsize=(7.4, 3.4))
    left, right = figure.subplots(1, 2)
    modes, rank = theory["mode"].to_numpy(), float(theory["effective_rank"])
    left.loglog(modes, positive(theory["eigenvalue"].to_numpy()), ".-", color=colour("blue"), linewidth=1.0)
    left.axvline(rank, color=colour("grey"), **_LIMIT)
    left.set(xlabel="mode", ylabel="eigenvalue", title=f"spectrum, effective rank {rank:.3g}")
    # The sum from the small end: differences from 1 would be rounding.
    rest = np.append(np.cumsum(theory["target_share"].to_numpy()[::-1])[::-1][1:], 0.0)
    right.loglog(modes, positive(np.where(rest > _FLOOR**2, rest, 0.0)), color=colour("vermillion"))
    right.axvline(rank, color=colour("grey"), **_LIMIT)
    right.set(xlabel="modes learnt", ylabel="share of ‖Y − f₀‖² left", title="targets in the spectrum")
    return figure


def _residuals(tree: xr.DataTree) -> Figure:
    figure = Figure()
    axes = figure.subplots()
    norms = tree["theory"]["residual_norm"].to_numpy()
    for part, name in enumerate(PART_LABELS):
        axes.loglog(_times(tree), positive(norms[:, part]), **line(name, "real"))
    axes.set_ylim(bottom=max(axes.get_ylim()[0], norms.max() * _FLOOR))
    axes.set_ylabel("‖R_e‖_F")
    axes.set_xlabel(_label(tree))
    part_legend(axes, [], loc="lower left")
    return figure
