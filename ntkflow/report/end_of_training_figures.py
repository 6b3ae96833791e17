"""Figures of an end-of-training scenario: hyperbolas, Gram matrices over time, and how the residual decays."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkflow.report.axes import positive, time_label
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import COLOURS, colour

_INKS = tuple(name for name in COLOURS["light"] if name != "grey")
_DOTS = 24
"""Dots of the integrated flow on each curve: as many as can be told apart."""

_WIDTHS = {"scatter": (2.8, 8.5), "weight_gram": (1.3, 4.5)}
"""Of a line and of its dots."""


def end_of_training_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of an end-of-training result; the plane of w and h only where there is one feature."""
    plane = Drawing(
        "hyperbola",
        "The hyperbola",
        "Each case in the plane of √μ|w| and √m|h|, from its start (large dot) inwards. Lines: closed form. Dots: "
        "integrated flow. Thin lines: the whole hyperbola μw² − mh² = ε. Below the diagonal (ε > 0) the within-class "
        "spread h vanishes; above it (ε < 0) w vanishes and the spread stays; on it (ε = 0) both vanish like 1/√t.",
        lambda: _plane(tree),
    )
    return (
        *((plane,) if tree["theory"].sizes["feature"] == 1 else ()),
        Drawing(
            "grams",
            "Scatter and weights",
            "Eigenvalues of mS (within-class scatter) and of μWᵀW against gradient-flow time, a panel for each case; "
            "their difference is constant where they share their directions. Lines: closed form. Dots: integrated "
            "flow. Dashed: the limits, the negative and the positive part of Ẽ.",
            lambda: _grams(tree),
        ),
        Drawing(
            "residual",
            "Decay of the residual",
            "√m‖WH₂‖_F, the norm of the residual while the class means are fitted, against gradient-flow time. Lines: "
            "closed form. Dots: integrated flow. On the logarithmic axes 1/t is a straight line and an exponential "
            "bends down.",
            lambda: _residual(tree),
        ),
    )


def _theory(tree: xr.DataTree) -> tuple[xr.Dataset, list[str]]:
    theory = tree["theory"].to_dataset()
    return theory, [str(case) for case in theory["case"].to_numpy()]


def _ink(index: int) -> str:
    return colour(_INKS[index % len(_INKS)])


def _dots(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _DOTS)).round().astype(int))


def _sources(axes: Axes, *others: Line2D, **options: Any) -> None:
    grey = colour("grey")
    handles = [
        *others,
        Line2D([], [], color=grey, label="closed form"),
        Line2D([], [], color=grey, linestyle="", marker=".", label="integrated"),
    ]
    axes.legend(handles=handles, **options)


def _plane(tree: xr.DataTree) -> Figure:
    theory, cases = _theory(tree)
    single, m = float(theory["mu_single"]), float(theory["per_class"])

    def coordinates(prefix: str) -> tuple[np.ndarray, np.ndarray]:
        gram = theory[f"{prefix}weight_gram_eigenvalue"].to_numpy()[..., 0]
        scatter = theory[f"{prefix}scatter_eigenvalue"].to_numpy()[..., 0]
        return np.sqrt(single * np.maximum(gram, 0)), np.sqrt(m * np.maximum(scatter, 0))

    (x, y), (x_dots, y_dots) = coordinates(""), coordinates("integrated_")
    reach = 1.08 * max(x.max(), y.max())
    figure = Figure(figsize=(6.6, 4.2))
    axes = figure.subplots()
    axes.plot([0, reach], [0, reach], color=colour("grey"), linewidth=0.8)
    for index, case in enumerate(cases):
        ink, ε = _ink(index), float(theory["invariant_eigenvalue"].to_numpy()[index, 0])
        along = np.linspace(0, reach, 300)
        whole = (np.sqrt(along**2 + max(ε, 0)), np.sqrt(along**2 + max(-ε, 0)))
        whole = (whole[0], along) if ε > 0 else (along, whole[1])
        axes.plot(*whole, color=ink, linewidth=0.6, alpha=0.6)
        axes.plot(x[index], y[index], color=ink, label=f"{case}, ε = {0.0 if abs(ε) < 1e-12 else ε:.3g}")
        shown = _dots(x.shape[1])
        axes.plot(x_dots[index, shown], y_dots[index, shown], ".", color=ink)
        axes.plot(x[index, 0], y[index, 0], "o", color=ink, markersize=8)
    axes.set_xlim(0, reach)
    axes.set_ylim(0, reach)
    axes.set_aspect("equal")
    axes.set_xlabel("√μ |w|")
    axes.set_ylabel("√m |h|")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def _grams(tree: xr.DataTree) -> Figure:
    theory, cases = _theory(tree)
    times, shown = _times(theory), _dots(theory.sizes["time"])
    columns = min(len(cases), 3)
    rows = -(-len(cases) // columns)
    figure = Figure(figsize=(max(3.1 * columns, 5.2), 2.9 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).reshape(-1)
    kinds = (("scatter", float(theory["per_class"]), "vermillion", "mS"),
             ("weight_gram", float(theory["mu_single"]), "blue", "μWᵀW"))  # fmt: skip
    largest = max(float(theory[f"{name}_eigenvalue"].max()) * factor for name, factor, _, _ in kinds)
    for index, axes in enumerate(panels):
        if index >= len(cases):
            axes.set_visible(False)
            continue
        for name, factor, ink, _ in kinds:
            # Where Ẽ = 0 the two coincide: the wider line shows beside the narrow one.
            exact, (width, dot) = factor * theory[f"{name}_eigenvalue"].to_numpy()[index], _WIDTHS[name]
            axes.semilogx(times, exact, color=colour(ink), linewidth=width)
            integrated = factor * theory[f"integrated_{name}_eigenvalue"].to_numpy()[index]
            axes.semilogx(times[shown], integrated[shown], ".", color=colour(ink), markersize=dot)
            for limit in np.unique(factor * theory[f"{name}_limit"].to_numpy()[index]):
                axes.axhline(limit, color=colour(ink), linestyle="dashed", linewidth=0.9)
        axes.set_title(cases[index])
        axes.set_ylim(-0.04 * largest, 1.04 * largest)
        if index + columns >= len(cases):
            axes.set_xlabel(_label(tree))
            axes.tick_params(labelbottom=True)
    lines = [Line2D([], [], color=colour(ink), label=label) for _, _, ink, label in kinds]
    panels[0].set_ylabel("eigenvalues")
    _sources(panels[0], *lines, loc="upper right", fontsize=8)
    return figure


def _residual(tree: xr.DataTree) -> Figure:
    theory, cases = _theory(tree)
    times, shown = _times(theory), _dots(theory.sizes["time"])
    figure = Figure(figsize=(6.2, 3.8))
    axes = figure.subplots()
    exact, integrated = theory["within_norm"].to_numpy(), theory["integrated_within_norm"].to_numpy()
    lines = []
    for index, case in enumerate(cases):
        axes.loglog(times, positive(exact[index]), color=_ink(index))
        axes.loglog(times[shown], positive(integrated[index, shown]), ".", color=_ink(index))
        lines.append(Line2D([], [], color=_ink(index), label=case))
    top = float(exact.max()) if exact.max() > 0 else 1.0
    axes.set_ylim(max(axes.get_ylim()[0], 1e-8 * top), 2 * top)
    axes.set_xlabel(_label(tree))
    axes.set_ylabel("√m ‖WH₂‖_F")
    _sources(axes, *lines, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=9)
    return figure


def _times(theory: xr.Dataset) -> np.ndarray:
    times = theory["time"].to_numpy()
    # Time 0 has no place on a logarithmic axis: it is drawn at the first time after it.
    return np.maximum(times, times[1])


def _label(tree: xr.DataTree) -> str:
    return time_label(str(tree["scenario"].attrs["loss_scale"]))
