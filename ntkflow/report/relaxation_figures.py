"""Figures of a relaxation scenario: residual, collapse, classes and invariant of each relaxed system."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkflow.report.axes import PART_LABELS, part_legend, positive, time_label
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import COLOURS, colour, line

_INKS = tuple(name for name in COLOURS["light"] if name != "grey")
_METRICS = (
    ("nc1_trace_ratio", "NC1 trace ratio", "blue"),
    ("nc2_etf_distance", "NC2 ETF distance", "vermillion"),
    ("nc3_unit_means", "NC3 unit means", "green"),
)
_BAND = " Shaded: mean ± 2 standard errors over the paths of a noisy model."


def relaxation_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a relaxation result."""
    band = _BAND if "loss_standard_error" in tree["theory"].data_vars else ""
    return (
        Drawing(
            "residuals",
            "Residual by eigenspace",
            "Frobenius norms of the residual's global mean, class means and within-class part against gradient-flow "
            "time, one panel for each relaxed system." + band,
            lambda: _residuals(tree),
        ),
        Drawing(
            "collapse",
            "Neural collapse",
            "Neural-collapse metrics over time; each falls to 0 at collapse. NC1: within-class variability Tr Σ_W/Tr "
            "Σ_B. NC2: distance of the class means' Gram matrix from a simplex ETF. NC3: distance between the "
            "directions of W and of the centred class means scaled to unit length." + band,
            lambda: _collapse(tree),
        ),
        Drawing(
            "classes",
            "Class by class",
            "Top: norm of the class mean of the residual, a line for each class. Middle: cosines between the centred "
            "class means, a line for each pair of classes. Bottom: these cosines at the last time; a simplex ETF has "
            "−1/(C − 1) off the diagonal.",
            lambda: _classes(tree),
        ),
        Drawing(
            "invariant",
            "The invariant",
            "Left: ‖E‖_F over the sum of the norms of its two sides. Middle: how far E has moved, over the "
            "sum at t = 0; E of the case's own kernel. Right: the same after the case's law for E is subtracted "
            "(nothing where E is conserved): the error of the integration. A line is missing where nothing is known."
            + band,
            lambda: _invariant(tree),
        ),
    )


def _cases(tree: xr.DataTree) -> tuple[xr.Dataset, list[str]]:
    theory = tree["theory"].to_dataset()
    return theory, [str(case) for case in theory["case"].to_numpy()]


def _panels(count: int) -> tuple[Figure, np.ndarray]:
    """A panel for each case, at most three in a row; those left over are hidden."""
    columns = _columns(count)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(3.5 * columns, 5.2), 3.2 * rows))
    panels = figure.subplots(rows, columns, sharey=True, sharex=True, squeeze=False).reshape(-1)
    for axes in panels[count:]:
        axes.set_visible(False)
    # Where a row is not full, the panel above it needs its own numbers.
    for axes in panels[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    return figure, panels


def _times(theory: xr.Dataset) -> np.ndarray:
    """The saved times but the first: time 0 has no place on a logarithmic axis."""
    return theory["time"].to_numpy()[1:]


def _without_minor_ticks(figure: Figure) -> Figure:
    """Eight between two powers of ten on every panel take longer to draw than all curves."""
    for axes in figure.axes:
        axes.minorticks_off()
    return figure


def _columns(count: int) -> int:
    return 2 if count == 4 else min(count, 3)


def _curve(axes: Axes, theory: xr.Dataset, name: str, where: tuple[int | slice, ...], **style: object) -> None:
    """A quantity over time with its band of two standard errors, if it has one."""
    times, values = _times(theory), theory[name].to_numpy()[where][1:]
    axes.loglog(times, positive(values), **style)  # pyright: ignore[reportArgumentType]
    if f"{name}_standard_error" in theory:
        error = theory[f"{name}_standard_error"].to_numpy()[where][1:]
        if np.isfinite(error).any():
            low, high = values - 2 * error, values + 2 * error
            # A band that reaches 0 has no lower edge on a logarithmic axis: it is drawn down to a thousandth.
            low = np.maximum(low, values * 1e-3)
            axes.fill_between(times, low, high, color=style["color"], alpha=0.25, linewidth=0)  # pyright: ignore[reportArgumentType]


def _label_times(tree: xr.DataTree, panels: np.ndarray, count: int) -> None:
    columns = _columns(count)
    for axes in panels[max(0, count - columns) : count]:
        axes.set_xlabel(time_label(str(tree["scenario"].attrs["loss_scale"])))


def _residuals(tree: xr.DataTree) -> Figure:
    theory, cases = _cases(tree)
    figure, panels = _panels(len(cases))
    for index, case in enumerate(cases):
        for part, name in enumerate(PART_LABELS):
            _curve(panels[index], theory, "residual_norm", (index, slice(None), part), **line(name, "real"))
        panels[index].set_title(case)
    top = float(np.nanmax(theory["residual_norm"].to_numpy()))
    panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], 1e-7 * top))
    for axes in panels[:: _columns(len(cases))]:
        axes.set_ylabel("‖R_e‖_F")
    _label_times(tree, panels, len(cases))
    part_legend(panels[0], [], loc="lower left", fontsize=9)
    return _without_minor_ticks(figure)


def _collapse(tree: xr.DataTree) -> Figure:
    theory, cases = _cases(tree)
    figure, panels = _panels(len(cases))
    for index, case in enumerate(cases):
        for name, label, ink in _METRICS:
            _curve(panels[index], theory, name, (index, slice(None)), color=colour(ink), label=label)
        panels[index].set_title(case)
    panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], 1e-8))
    _label_times(tree, panels, len(cases))
    panels[0].legend(loc="lower left", fontsize=9)
    return _without_minor_ticks(figure)


def _classes(tree: xr.DataTree) -> Figure:
    theory, cases = _cases(tree)
    count, classes = len(cases), theory.sizes["class"]
    figure = Figure(figsize=(max(2.8 * count, 5.2), 7.6))
    panels = figure.subplots(3, count, squeeze=False, sharey="row")
    residual, cosine = theory["class_residual"].to_numpy(), theory["mean_cosine"].to_numpy()
    image, pairs = None, list(itertools.combinations(range(classes), 2))
    for index, case in enumerate(cases):
        for one in range(classes):
            ink = colour(_INKS[one % len(_INKS)])
            panels[0, index].loglog(_times(theory), positive(residual[index, 1:, one]), color=ink, label=f"class {one}")
        for first, second in pairs:
            shared = {"color": colour("grey"), "alpha": 0.6} if len(pairs) > len(_INKS) else {}
            panels[1, index].semilogx(
                _times(theory), cosine[index, 1:, first, second], label=f"{first}, {second}", **shared
            )
        panels[0, index].set_title(case)
        scale = str(tree["scenario"].attrs["loss_scale"])
        # Three panels side by side have no room for the whole label.
        panels[1, index].set_xlabel(time_label(scale) if count == 1 else f"time, {scale}")
        image = panels[2, index].imshow(cosine[index, -1], vmin=-1, vmax=1, cmap="cividis")
        _numbers(panels[2, index], cosine[index, -1])
    highest = float(np.nanmax(residual))
    panels[0, 0].set_ylim(1e-5 * highest, 2 * highest)
    panels[1, 0].set_ylim(-1.05, 1.05)
    for axes, label in zip(
        panels[:, 0], ("norm of the class mean of R", "cosine of two class means", "class"), strict=True
    ):
        axes.set_ylabel(label)
    if classes <= len(_INKS):
        panels[0, 0].legend(loc="lower left", fontsize=8)
    if len(pairs) <= len(_INKS):
        panels[1, 0].legend(loc="upper right", fontsize=8, ncols=2)
    if image is not None:
        figure.colorbar(image, ax=list(panels[2]), shrink=0.8, label="cosine at the end")
    return _without_minor_ticks(figure)


def _numbers(axes: Axes, matrix: np.ndarray) -> None:
    """The entries of a small matrix written into its picture."""
    size = len(matrix)
    axes.grid(visible=False)
    axes.set_xticks(range(size))
    axes.set_yticks(range(size))
    if size <= 6:
        for (row, column), value in np.ndenumerate(matrix):
            ink = "#ffffff" if value < 0.2 else "#000000"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)


def _invariant(tree: xr.DataTree) -> Figure:
    theory, cases = _cases(tree)
    figure = Figure(figsize=(10.6, 3.6))
    panels = figure.subplots(1, 3)
    shown = (
        ("invariant_relative_norm", "‖E‖ over its sides"),
        ("invariant_change", "how far E has moved"),
        ("invariant_law_error", "error of the law of E"),
    )
    for axes, (name, title) in zip(panels, shown, strict=True):
        for index, case in enumerate(cases):
            ink = colour(_INKS[index % len(_INKS)])
            style = {} if index < len(_INKS) else {"linestyle": "dashed"}
            if np.isfinite(theory[name].to_numpy()[index]).any():
                _curve(axes, theory, name, (index, slice(None)), color=ink, label=case, **style)
        axes.set_title(title)
        axes.set_xlabel(time_label(str(tree["scenario"].attrs["loss_scale"])))
        if name != "invariant_law_error":
            axes.set_ylim(bottom=max(axes.get_ylim()[0], 1e-16))
    handles = [_proxy(index, case) for index, case in enumerate(cases)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(cases), 4), fontsize=9)
    return _without_minor_ticks(figure)


def _proxy(index: int, case: str) -> Line2D:
    style = "solid" if index < len(_INKS) else "dashed"
    return Line2D([], [], color=colour(_INKS[index % len(_INKS)]), linestyle=style, label=case)
