"""Paper 3, Figures 2 and 3 to 11: runs with and without neural collapse, over epochs and over step sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from ntkflow.report.axes import positive
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour
from ntkflow.report.training_panels import zero_error_epochs

_MARKERS = "os^Dv"
_OVER_EPOCHS = (
    ("a  ‖E‖_F", "invariant", "norm", True),
    ("b  alignment of E's sides", "invariant", "zero_mean_alignment", False),
    ("c  NC1: std within classes", "collapse", "nc1_within_std", True),
    ("d  NC2: distance from ETF", "collapse", "nc2_etf_distance", True),
    ("e  NC3: W against means", "collapse", "nc3_unit_means", True),
)
_AT_END = (
    ("f  NC1, at the end", (("collapse", "nc1_within_std", "std within", "blue"),), True),
    (
        "g  NC2, NC3, at the end",
        (("collapse", "nc2_etf_distance", "NC2", "vermillion"), ("collapse", "nc3_unit_means", "NC3", "green")),
        True,
    ),
)
_MORE = (
    (
        "i  norms, at the end",
        (
            ("collapse", "class_mean_norm", "H₁H₁ᵀ", "blue"),
            ("collapse", "within_norm", "H₂H₂ᵀ", "vermillion"),
            ("collapse", "global_mean_norm", "⟨h⟩⟨h⟩ᵀ", "grey"),
        ),
        True,
    ),
    (
        "j  alignment of kernels",
        (("alignments", "logit_alignment", "Θ", "blue"), ("alignments", "feature_alignment", "Θʰ", "vermillion")),
        False,
    ),
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Which two members of a sweep are drawn over epochs: indices, or None where there is none."""

    collapsing: int | None
    other: int | None


def chosen_pair(tree: xr.DataTree) -> Pair:
    """Of the members with every training sample right at the end: those with the least and the most NC1 left there."""
    losses = tree["losses"].to_dataset()
    right = losses["misclassified"].sel(split="train").isel(epoch=-1).to_numpy() == 0
    left = tree["collapse"]["nc1_within_std"].isel(epoch=-1).to_numpy()
    usable = np.flatnonzero(right & np.isfinite(left))
    if not usable.size:
        return Pair(None, None)
    order = usable[np.argsort(left[usable])]
    return Pair(int(order[0]), int(order[-1]) if order.size > 1 else None)


def collapse_figure(runs: Sequence[tuple[str, xr.DataTree]], *, name: str, more: bool) -> Drawing:
    """Panes a to h of paper 3, Figure 2, and i, j of Figures 3 to 11.

    Args:
        runs: what sets each sweep over step sizes apart, and its `training` result with several members.
        name: stem of the files.
        more: whether panes i and j are drawn.
    """
    chosen = "; ".join(f"{label}: {_named(tree)}" for label, tree in runs)
    extra = (
        " i: ‖H₁H₁ᵀ‖_F, ‖H₂H₂ᵀ‖_F and ‖⟨h⟩⟨h⟩ᵀ‖_F, of class means (not centred), of what is within classes, and of the "
        "global mean of the features. j: alignment of both kernels with the labels, at the end."
        if more
        else ""
    )
    return Drawing(
        name,
        "Runs with and without neural collapse",
        "Of the runs that classify every training sample right at the end, the one with the least within-class spread "
        f"left (red, filled) and the one with the most (blue, empty): {chosen}. Vertical lines: the first recorded "
        "epoch without a wrong training sample. a: norm of the invariant E. b: cosine of its two sides, (28) with its "
        "sign corrected. c: standard deviation within classes, mean over classes. d: ‖MᵀM/‖MᵀM‖ − Φ‖_F. e: "
        "‖Wᵀ/‖W‖ − M/‖M‖‖_F with centred means M scaled to unit length. f, g, h: the metrics and the test accuracy at "
        "the end over the initial step size; a cross marks a run that does not classify every training sample right."
        f"{extra} Nothing is smoothed.",
        lambda: _figure(runs, more),
    )


def _named(tree: xr.DataTree) -> str:
    labels, pair = tree["losses"]["member"].to_numpy(), chosen_pair(tree)
    if pair.collapsing is None:
        return "no run classifies every training sample right"
    accuracy = tree["losses"]["accuracy"].sel(split="test").isel(epoch=-1).to_numpy()

    def told(index: int) -> str:
        known = f", test accuracy {100 * accuracy[index]:.1f} %" if np.isfinite(accuracy[index]) else ""
        return f"{labels[index]}{known}"

    return told(pair.collapsing) + ("" if pair.other is None else f", and {told(pair.other)}")


def _figure(runs: Sequence[tuple[str, xr.DataTree]], more: bool) -> Figure:
    figure = Figure(figsize=(13.5, 5.8))
    panes = figure.subplots(2, 5)
    for axes, (title, group, variable, log) in zip(panes[0], _OVER_EPOCHS, strict=True):
        for marker, (_, tree) in zip(_MARKERS, runs, strict=False):
            _over_epochs(axes, tree, group, variable, marker)
        axes.set_xscale("symlog", linthresh=1)
        axes.set(title=title, xlabel="epoch", xlim=(-0.3, None))
        axes.set_yscale("log" if log else "linear")
    panels = [*_AT_END, *(_MORE if more else ())]
    places = [panes[1, 0], panes[1, 1], panes[1, 3], panes[1, 4]]
    for axes, (title, curves, log) in zip(places, panels, strict=False):
        for marker, (_, tree) in zip(_MARKERS, runs, strict=False):
            for group, variable, label, ink in curves:
                _over_steps(axes, tree, _array(tree, group, variable), marker, color=colour(ink), label=label)
        _step_axis(axes, title)
        axes.set_yscale("log" if log else "linear")
        if len(curves) > 1:
            handles = [Line2D([], [], color=colour(ink), label=label) for _, _, label, ink in curves]
            axes.legend(handles=handles, fontsize=8)
    for marker, (_, tree) in zip(_MARKERS, runs, strict=False):
        accuracy = _array(tree, "losses", "accuracy").sel(split="test")
        _over_steps(panes[1, 2], tree, 100 * accuracy, marker, color=colour("purple"))
    _step_axis(panes[1, 2], "h  test accuracy, %")
    if not more:
        for axes in panes[1, 3:]:
            axes.set_axis_off()
    if len(runs) > 1:
        handles = [
            Line2D([], [], color=colour("grey"), marker=marker, label=label)
            for marker, (label, _) in zip(_MARKERS, runs, strict=False)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(runs))
    return figure


def _step_axis(axes: Axes, title: str) -> None:
    axes.set(title=title, xlabel="step size η", xscale="log")
    # Between the powers of ten there is no room for numbers.
    axes.xaxis.set_minor_formatter(NullFormatter())


def _array(tree: xr.DataTree, group: str, variable: str) -> xr.DataArray:
    return tree[group].to_dataset()[variable]


def _of_member(array: xr.DataArray) -> np.ndarray:
    """member × epoch, on the samples of the kernels where an array has several kinds."""
    if "sample" in array.dims:
        array = array.sel(sample="kernels")
    return array.transpose("member", "epoch").to_numpy()


def _over_epochs(axes: Axes, tree: xr.DataTree, group: str, variable: str, marker: str) -> None:
    array = _array(tree, group, variable)
    epochs, values, zero, pair = (
        array["epoch"].to_numpy(),
        _of_member(array),
        zero_error_epochs(tree),
        chosen_pair(tree),
    )
    for index, ink, full in ((pair.collapsing, "vermillion", True), (pair.other, "blue", False)):
        if index is None:
            continue
        look = {"color": colour(ink), "marker": marker, "markersize": 4, "fillstyle": "full" if full else "none"}
        axes.plot(epochs, positive(values[index]), **look)
        if np.isfinite(zero[index]):
            axes.axvline(zero[index], color=colour(ink), linewidth=0.8, alpha=0.7)


def _over_steps(axes: Axes, tree: xr.DataTree, array: xr.DataArray, marker: str, **look: Any) -> None:
    steps = tree["training"]["step_size"].transpose("member", "trained_epoch").to_numpy()[:, 0]
    order, values = np.argsort(steps), _of_member(array)[:, -1]
    axes.plot(steps[order], positive(values[order]), marker=marker, markersize=4, **look)
    wrong = tree["losses"]["misclassified"].sel(split="train").isel(epoch=-1).to_numpy() != 0
    axes.plot(steps[wrong], values[wrong], "x", color=colour("ink"), markersize=8)
