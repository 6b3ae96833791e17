"""Curves over the epochs of one training run, or of several: panels, their colours, legends and axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkflow.report.axes import positive
from ntkflow.report.style import colour

INKS = ("blue", "vermillion", "green", "purple", "orange", "sky")
"""Colours of runs, and of quantities, one after the other."""
_STYLES: tuple[Any, ...] = ("solid", (0, (5.0, 2.0)), (0, (1.0, 1.6)), (0, (4.0, 1.5, 1.0, 1.5)), (0, (8.0, 3.0)))
_MANY = 12
"""More runs than this have no legend."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """One array over epochs.

    Attributes:
        variable: its name in the group.
        label: in the legend.
        ink: a colour of the palette; runs have colours of their own where there are several.
        at: labels along trailing axes.
        error: a variable with standard errors.
    """

    variable: str
    label: str
    ink: str
    at: dict[str, str] = dataclasses.field(default_factory=dict)
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
    """Some curves of one group on one pair of axes."""

    title: str
    group: str
    curves: Sequence[Curve]
    log: bool = True
    bottom: float | None = None
    top: float | None = None


def zero_error_epochs(tree: xr.DataTree) -> np.ndarray:
    """The first recorded epoch without a training sample that is classified wrong, of each run; NaN where none is."""
    if "losses" not in tree:
        return np.full(max(len(members_of(tree)), 1), np.nan)
    losses = tree["losses"].to_dataset()
    wrong = losses["misclassified"].sel(split="train").to_numpy().reshape(-1, losses.sizes["epoch"])
    epochs = losses["epoch"].to_numpy().astype(float)
    right = wrong == 0
    return np.where(right.any(axis=1), epochs[right.argmax(axis=1)], np.nan)


def members_of(tree: xr.DataTree) -> list[str]:
    """The labels of the runs where there are several, else none."""
    for name in tree.children:
        if "member" in tree[name].coords:
            return [str(label) for label in tree[name]["member"].to_numpy()]
    return []


def panels_figure(tree: xr.DataTree, panels: Sequence[Panel], *, columns: int) -> Figure:
    """A grid of panels; where there are several runs each has a colour, and quantities have line styles."""
    members = members_of(tree)
    rows = -(-len(panels) // columns)
    # Legends stand below their axes: curves that rise or fall leave no corner free.
    figure = Figure(figsize=(max(3.4 * columns, 5.2), 3.3 * rows + (0.35 if members else 0.0)))
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, tree, panel, members)
    spare = list(grid[len(panels) :])
    for axes in spare:
        axes.set_axis_off()
    if 0 < len(members) <= _MANY:
        handles = [
            Line2D([], [], color=ink, label=label) for label, ink in zip(members, _inks(len(members)), strict=True)
        ]
        if spare:
            spare[0].legend(handles=handles, loc="center left")
        else:
            figure.legend(handles=handles, loc="outside lower center", ncols=min(len(members), 4))
    return figure


def _inks(count: int) -> list[str]:
    return [colour(INKS[index % len(INKS)]) for index in range(count)]


def _draw(axes: Axes, tree: xr.DataTree, panel: Panel, members: Sequence[str]) -> None:
    group = tree[panel.group].to_dataset()
    epochs = group["epoch"].to_numpy().astype(float)
    shape = (max(len(members), 1), len(epochs))
    inks = _inks(len(members)) if members else [colour("grey")]
    for ink, epoch in zip(inks, zero_error_epochs(tree), strict=True):
        if np.isfinite(epoch):
            axes.axvline(epoch, color=ink, linewidth=0.9, alpha=0.8, zorder=0.5)
    shown = False
    for index, curve in enumerate(panel.curves):
        values = _read(group, curve.variable, curve.at).reshape(shape)
        errors = None if curve.error is None else _read(group, curve.error, curve.at).reshape(shape)
        for member in range(shape[0]):
            ink = inks[member] if members else colour(curve.ink)
            style = _STYLES[index % len(_STYLES)] if members else "solid"
            marker = {"marker": "o", "markersize": 3} if len(epochs) <= 40 else {}
            shown |= _line(axes, epochs, values[member], panel.log, color=ink, linestyle=style, linewidth=1.5, **marker)
            if errors is not None:
                _band(axes, epochs, values[member], errors[member], panel.log, ink)
    if panel.log and shown:
        axes.set_yscale("log")
    axes.set_title(panel.title)
    axes.set_xlabel("epoch")
    _epoch_axis(axes, epochs)
    if panel.bottom is not None and shown:
        low, high = axes.get_ylim()
        # What is 0 throughout still needs axes that end above it.
        axes.set_ylim(
            bottom=min(panel.bottom, low) if low < panel.bottom else panel.bottom - 0.02 * (high - panel.bottom)
        )
    if panel.top is not None:
        axes.set_ylim(top=panel.top)
    _quantity_legend(axes, panel.curves, bool(members))


def _read(group: xr.Dataset, variable: str, at: dict[str, str]) -> np.ndarray:
    return group[variable].sel(at).to_numpy()


def _line(axes: Axes, epochs: np.ndarray, values: np.ndarray, log: bool, **look: Any) -> bool:
    """Whether there was anything to draw. Moments without a value are left out, not joined across."""
    drawn = positive(values) if log else np.where(np.isfinite(values), values, np.nan)
    drawn = np.where(np.isfinite(drawn), drawn, np.nan)
    axes.plot(epochs, drawn, **look)
    return bool(np.isfinite(drawn).any())


def _band(axes: Axes, epochs: np.ndarray, values: np.ndarray, errors: np.ndarray, log: bool, ink: str) -> None:
    low, high = values - errors, values + errors
    if log:
        # A band that reaches 0 or below would run off the logarithmic axis.
        low = np.maximum(low, 0.05 * values)
    axes.fill_between(epochs, low, high, where=np.isfinite(low + high), color=ink, alpha=0.2, linewidth=0)


def _quantity_legend(axes: Axes, curves: Sequence[Curve], several: bool) -> None:
    named = [(index, curve) for index, curve in enumerate(curves) if curve.label]
    if not named or (several and len(curves) == 1):
        return
    handles = [
        Line2D([], [], color=colour("grey"), linestyle=_STYLES[index % len(_STYLES)], label=curve.label)
        if several
        else Line2D([], [], color=colour(curve.ink), label=curve.label)
        for index, curve in named
    ]
    columns = 3 if sum(len(curve.label) for curve in curves) <= 24 else 2
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, fontsize=9)


def _epoch_axis(axes: Axes, epochs: np.ndarray) -> None:
    """Logarithmic after epoch 1 where records are; linear where they are evenly spaced."""
    gaps = np.diff(epochs)
    if len(epochs) < 4 or epochs[-1] < 20 or gaps[-1] < 3 * gaps[0]:
        return
    axes.set_xscale("symlog", linthresh=1.0)
    decades = 10.0 ** np.arange(np.floor(np.log10(epochs[-1])) + 1)
    labels = [f"{mark:g}" if mark < 1e4 else f"$10^{{{np.log10(mark):.0f}}}$" for mark in decades]
    start = [0.0] if epochs[0] == 0 else []
    axes.set_xticks([*start, *decades], ["0"] * len(start) + labels)
    axes.set_xticks([], minor=True)
    # Margins are those of the linear axis otherwise: a long way to the left of 0.
    axes.set_xlim(epochs[0] - 0.25 if epochs[0] == 0 else 0.8 * epochs[0], 1.3 * epochs[-1])
