"""Figures of several comparisons: their ladders beside each other, and their rates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkflow.report.axes import PART_LABELS
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour, part_colour
from ntkflow.report.training_panels import INKS

_MARKERS = "os^Dv*P"


def several_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """The figures of `ntkflow compare`; the groups of ``tree`` are the results by letter."""
    letters = [name for name in tree.children if name != "scenario"]
    legend = ", ".join(f"{letter}: {tree[letter].attrs['name']}" for letter in letters)
    drawings = [
        Drawing(
            "rates",
            "Decay rates, measured and predicted",
            f"{legend}. A point is one part of the residual at one snapshot. Across: the rate fitted to the run. Up: "
            "that of the block kernel (empty) and of the whole Θ (full). On the line they agree. Rates that are not "
            "positive are not shown.",
            lambda: _rates(tree, letters),
        )
    ]
    if any("ladder" in tree[letter] for letter in letters):
        drawings.insert(
            0,
            Drawing(
                "ladders",
                "The ladders side by side",
                f"{legend}. ‖R_e‖ forecast over ‖R_e‖ real of the slowest part that moves, after its first e-fold or "
                "at the end of the forecast, by model from the weakest assumption to the strongest; a line a "
                "snapshot, the later the fainter. 1 is right.",
                lambda: _ladders(tree, [letter for letter in letters if "ladder" in tree[letter]]),
            ),
        )
    return tuple(drawings)


def _ladders(tree: xr.DataTree, letters: list[str]) -> Figure:
    figure = Figure(figsize=(max(3.2 * len(letters), 5.2), 4.0))
    for axes, letter, ink in zip(
        figure.subplots(1, len(letters), squeeze=False, sharey=True)[0], letters, _inks(len(letters)), strict=True
    ):
        group = tree[letter]["ladder"].to_dataset()
        names = tree[letter]["theory"].to_dataset()
        titles = dict(zip(names["model"].to_numpy().tolist(), names["model_title"].to_numpy().tolist(), strict=True))
        ratios = np.exp(group["log_ratio"].to_numpy())
        places = np.arange(ratios.shape[1])
        for index, ratio in enumerate(ratios):
            axes.plot(places, ratio, marker="o", color=ink, alpha=1.0 - 0.7 * index / max(len(ratios) - 1, 1))
        axes.axhline(1.0, color=colour("grey"), linewidth=0.8)
        axes.set_yscale("log")
        labels = [titles.get(str(name), str(name)) for name in group["rung"].to_numpy()]
        axes.set_xticks(places, labels, rotation=40, ha="right", rotation_mode="anchor", fontsize=9)
        axes.set_title(letter)
    figure.axes[0].set_ylabel("forecast / real")
    return figure


def _rates(tree: xr.DataTree, letters: list[str]) -> Figure:
    figure = Figure(figsize=(6.4, 4.6))
    axes = figure.subplots()
    shown: list[np.ndarray] = []
    for letter, marker in zip(letters, _cycled(len(letters)), strict=True):
        theory, real = tree[letter]["theory"].to_dataset(), tree[letter]["comparison"].to_dataset()
        measured = real["rate_measured"].to_numpy()
        for name, style in (("rate_block", "none"), ("rate_whole", "full")):
            predicted = theory[name].to_numpy()
            for part, label in enumerate(PART_LABELS):
                across, up = measured[:, part], predicted[:, part]
                usable = np.isfinite(across) & np.isfinite(up) & (across > 0) & (up > 0)
                look = {"fillstyle": style, "color": part_colour(label), "linestyle": "none"}
                axes.loglog(across[usable], up[usable], marker=marker, **look)
                shown += [across[usable], up[usable]]
    values = np.concatenate(shown)
    if values.size:
        ends = [values.min() / 1.5, values.max() * 1.5]
        axes.plot(ends, ends, color=colour("grey"), linewidth=0.8)
    axes.set(xlabel="measured rate (1/gradient-flow time of each Z)", ylabel="predicted rate")
    handles = [Line2D([], [], color=part_colour(label), label=label) for label in PART_LABELS]
    handles += [
        Line2D([], [], color=colour("ink"), marker=marker, linestyle="none", label=letter)
        for letter, marker in zip(letters, _cycled(len(letters)), strict=True)
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _inks(count: int) -> list[str]:
    return [colour(INKS[index % len(INKS)]) for index in range(count)]


def _cycled(count: int) -> list[str]:
    return [_MARKERS[index % len(_MARKERS)] for index in range(count)]
