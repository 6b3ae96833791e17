"""Figures of a flow scenario: what happens to the residual, to collapse, and to the invariant from each initial
state."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ntkflow.report.axes import PART_LABELS, part_legend, positive, time_label
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import COLOURS, colour, line

_INKS = tuple(name for name in COLOURS["light"] if name != "grey")

_CHECKS = {
    "invariant_drift": (
        "relative drift",
        "drift ‖E(t) − E(0)‖_F over the sum of the norms of both sides at t = 0: what the integration's error amounts "
        "to, since the flow itself conserves E.",
    ),
    "scatter_minimum": (
        "negative part of S",
        "how far the smallest eigenvalue of the within-class scatter S is below 0, over ‖W‖²_F: rounding, since S is "
        "taken from the invariant and has no negative eigenvalue. Times at which none is below 0 are left out.",
    ),
}
"""Which check of the integration a result has, its title and what it is."""


def flow_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a flow result."""
    return (
        Drawing(
            "residuals",
            "Residual by eigenspace",
            "Frobenius norms of the residual's global mean, class means and within-class part against gradient-flow "
            "time, one panel for each initial state.",
            lambda: _residuals(tree),
        ),
        Drawing(
            "collapse",
            "Neural collapse",
            "Neural-collapse metrics over time; each falls to 0 at collapse. NC1: within-class variability Tr Σ_W/Tr "
            "Σ_B. "
            "NC2: distance of the class means' Gram matrix from a simplex ETF. NC3: distance between the directions "
            "of W and of the centred class means scaled to unit length.",
            lambda: _collapse(tree),
        ),
        Drawing(
            "invariant",
            "The invariant",
            "Left: cosine between the invariant's weight side WᵀW/m and its feature side, which reaches 1 if they "
            f"become proportional. Right: {_CHECKS[_check(tree)][1]}",
            lambda: _invariant(tree),
        ),
    )


def _panels(tree: xr.DataTree, height: float = 3.3):  # noqa: ANN202
    theory = tree["theory"].to_dataset()
    cases = [str(case) for case in theory["case"].to_numpy()]
    figure = Figure(figsize=(max(3.7 * len(cases), 5.2), height))
    return theory, cases, figure, figure.subplots(1, len(cases), sharey=True, squeeze=False)[0]


def _times(theory: xr.Dataset) -> np.ndarray:
    times = theory["time"].to_numpy()
    # Time 0 has no place on a logarithmic axis: it is drawn at the first time after it.
    return np.maximum(times, times[1])


def _check(tree: xr.DataTree) -> str:
    return next(name for name in _CHECKS if name in tree["theory"])


def _label(tree: xr.DataTree) -> str:
    return time_label(str(tree["scenario"].attrs["loss_scale"]))


def _residuals(tree: xr.DataTree) -> Figure:
    theory, cases, figure, panels = _panels(tree)
    for index, (case, axes) in enumerate(zip(cases, panels, strict=True)):
        for part, name in enumerate(PART_LABELS):
            axes.loglog(
                _times(theory), positive(theory["residual_norm"].to_numpy()[index, :, part]), **line(name, "real")
            )
        axes.set_title(case)
        axes.set_xlabel(_label(tree))
    panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], 1e-9))
    panels[0].set_ylabel("‖R_e‖_F")
    part_legend(panels[0], [], loc="lower left")
    return figure


def _collapse(tree: xr.DataTree) -> Figure:
    theory, cases, figure, panels = _panels(tree)
    shown = (
        ("nc1_trace_ratio", "NC1 trace ratio", "blue"),
        ("nc2_etf_distance", "NC2 ETF distance", "vermillion"),
        ("nc3_unit_means", "NC3 unit means", "green"),
    )
    for index, (case, axes) in enumerate(zip(cases, panels, strict=True)):
        for variable, label, ink in shown:
            axes.loglog(_times(theory), positive(theory[variable].to_numpy()[index]), color=colour(ink), label=label)
        axes.set_title(case)
        axes.set_xlabel(_label(tree))
    panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], 1e-10))
    panels[0].legend(loc="lower left", fontsize=9)
    return figure


def _invariant(tree: xr.DataTree) -> Figure:
    theory = tree["theory"].to_dataset()
    cases = [str(case) for case in theory["case"].to_numpy()]
    figure = Figure(figsize=(7.4, 3.4))
    left, right = figure.subplots(1, 2)
    for index, case in enumerate(cases):
        ink = colour(_INKS[index % len(_INKS)])
        left.semilogx(_times(theory), theory["invariant_alignment"].to_numpy()[index], color=ink, label=case)
        values = theory[_check(tree)].to_numpy()[index]
        right.loglog(_times(theory), positive(-values if _check(tree) == "scatter_minimum" else values), color=ink)
    left.set_ylim(min(0.0, float(theory["invariant_alignment"].min())), 1.05)
    left.set_title("alignment of the two sides")
    left.legend(loc="best", fontsize=9)
    right.set_title(_CHECKS[_check(tree)][0])
    for axes in (left, right):
        axes.set_xlabel(_label(tree))
    return figure
