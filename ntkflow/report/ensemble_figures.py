"""Figures of an ensemble of block flows: bands over time, final metrics against one value, maps against two."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkflow.report.axes import PART_LABELS, time_label
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour, part_colour

_METRICS = (
    ("nc1_trace_ratio", "NC1 trace ratio", "blue"),
    ("nc2_etf_distance", "NC2 ETF distance", "vermillion"),
    ("nc3_unit_means", "NC3 unit means", "green"),
)
_MARKERS = {"blue": "o", "vermillion": "s", "green": "^"}
"""Hollow and of different shapes, so that curves on top of each other are all seen."""
_COLLAPSED = 1e-3
_FLOOR = 1e-10
"""Metrics are shown down to here: what is smaller is rounding."""
_DEFINED = (
    "NC1: within-class variability Tr Σ_W/Tr Σ_B. NC2: distance of the class means' Gram matrix from a simplex ETF. "
    "NC3: distance between the directions of W and of the centred class means scaled to unit length."
)
_BANDS = "Line: median over the members. Bands: from the 5 % to the 95 % quantile, and from 25 % to 75 %."


def ensemble_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of an ensemble: maps if two values are listed, curves if one is, and bands over time otherwise."""
    listed = str(tree["combinations"].attrs["listed"]).split()
    if len(listed) == 1:
        return _against_one(tree, listed[0])
    if len(listed) == 2:
        return (_map_drawing(tree, listed[0], listed[1]),)
    return (
        Drawing(
            "collapse",
            "Neural collapse over the ensemble",
            f"Neural-collapse metrics against gradient-flow time. {_BANDS} {_DEFINED}",
            lambda: _collapse_bands(tree),
        ),
        Drawing(
            "residuals",
            "Residual by eigenspace over the ensemble",
            "Frobenius norms of the residual's global mean, class means and within-class part against gradient-flow "
            f"time. {_BANDS}",
            lambda: _residual_bands(tree),
        ),
    )


def _against_one(tree: xr.DataTree, name: str) -> tuple[Drawing, ...]:
    combined = tree["combinations"]
    key = str(combined[name].attrs["long_name"])
    drawings = [
        Drawing(
            "final_metrics",
            f"Collapse against {key}",
            f"Neural-collapse metrics at the last time against {key}: mean over the repeats, with one standard error "
            f"of the mean. Below {_FLOOR:g} they are drawn at the lower edge. {_DEFINED}",
            lambda: _final_metrics(tree, name),
        ),
        Drawing(
            "angles",
            f"Angles against {key}",
            f"At the last time, against {key}. Left: mean cosine between two rows of W and between two class means, "
            "which are not centred; mean over the repeats with one standard error of the mean. Dashed, where E = 0 and "
            "the biases are equal: what (62) and (66) of paper 3 give, with the constants of the corrected (68), for "
            "the measured final bias. Dotted: −1/(C − 1), the simplex ETF. Right: the mean bias, and dotted 1/C.",
            lambda: _angles(tree, name),
        ),
    ]
    return tuple(drawings)


def _map_drawing(tree: xr.DataTree, first: str, second: str) -> Drawing:
    combined = tree["combinations"]
    across, up = (str(combined[name].attrs["long_name"]) for name in (first, second))
    return Drawing(
        "phase_diagram",
        f"Collapse against {across} and {up}",
        "Neural-collapse metrics at the last time, mean over the repeats, one cell for each combination of values. The "
        f"colour is the logarithm to the base 10, cut off at {_FLOOR:g}. Line: where a metric falls below "
        f"{_COLLAPSED:g}; crossed out: no member was left. {_DEFINED}",
        lambda: _maps(tree, first, second),
    )


def _times(tree: xr.DataTree) -> np.ndarray:
    times = tree["theory"]["time"].to_numpy()
    # Time 0 has no place on a logarithmic axis: it is drawn at the first time after it.
    return np.maximum(times, times[1])


def _bands(axes: Axes, times: np.ndarray, values: np.ndarray, ink: str) -> None:
    values = np.maximum(values[np.isfinite(values).all(axis=1)], _FLOOR)
    low, first, middle, third, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    for lower, upper in ((low, high), (first, third)):
        axes.fill_between(times, lower, upper, color=ink, alpha=0.25, linewidth=0)
    axes.plot(times, middle, color=ink)
    axes.set_xscale("log")
    axes.set_yscale("log")


def _banded(tree: xr.DataTree, panels: list[tuple[str, np.ndarray, str]], label: str) -> Figure:
    figure = Figure(figsize=(9.6, 3.3))
    times = _times(tree)
    z = str(tree["scenario"].attrs["loss_scale"])
    for axes, (title, values, ink) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
        _bands(axes, times, values, ink)
        axes.set_title(title)
        axes.set_xlabel(time_label(z))
    figure.axes[0].set_ylabel(label)
    return figure


def _collapse_bands(tree: xr.DataTree) -> Figure:
    theory = tree["theory"]
    panels = [(label, theory[name].to_numpy(), colour(ink)) for name, label, ink in _METRICS]
    return _banded(tree, panels, "metric")


def _residual_bands(tree: xr.DataTree) -> Figure:
    norms = tree["theory"]["residual_norm"].to_numpy()
    panels = [(name, norms[..., part], part_colour(name)) for part, name in enumerate(PART_LABELS)]
    return _banded(tree, panels, "‖R_e‖_F")


def _curve(
    axes: Axes,
    tree: xr.DataTree,
    name: str,
    variable: str,
    ink: str,
    label: str,
    floor: float | None = None,
    linestyle: str = "solid",
) -> None:
    combined = tree["combinations"]
    at, values = combined[name].to_numpy(), combined[variable].to_numpy()
    errors = np.nan_to_num(combined[f"{variable}_standard_error"].to_numpy())
    order = np.argsort(at)
    at, values, errors = at[order], values[order], errors[order]
    low, high = values - errors, values + errors
    if floor is not None:
        low, values, high = (np.maximum(item, floor) for item in (low, values, high))
    axes.errorbar(
        at,
        values,
        yerr=np.stack([values - low, high - values]),
        color=colour(ink),
        label=label,
        marker=_MARKERS[ink],
        markersize=6,
        markerfacecolor="none",
        linestyle=linestyle,
        linewidth=1.3,
        capsize=2.5,
    )


def _final_metrics(tree: xr.DataTree, name: str) -> Figure:
    figure = Figure()
    axes = figure.subplots()
    for variable, label, ink in _METRICS:
        _curve(axes, tree, name, variable, ink, label, _FLOOR)
    axes.set_yscale("log")
    _value_axis(axes, tree, name)
    axes.axhline(_COLLAPSED, color=colour("grey"), linewidth=1, linestyle=(0, (1.0, 2.0)))
    axes.set_ylabel("metric at the last time")
    axes.legend(loc="best", fontsize=9)
    return figure


def _angles(tree: xr.DataTree, name: str) -> Figure:
    combined = tree["combinations"]
    figure = Figure(figsize=(8.6, 3.5))
    left, right = figure.subplots(1, 2)
    at = combined[name].to_numpy()
    order = np.argsort(at)
    for variable, label, ink in (
        ("weight_cosine", "rows of W", "blue"),
        ("means_cosine", "class means", "vermillion"),
    ):
        predicted = combined[f"predicted_{variable}"].to_numpy()
        known = np.isfinite(predicted)
        left.plot(at[order], predicted[order], color=colour(ink), linestyle=(0, (4.0, 3.0)), linewidth=1.3)
        _curve(left, tree, name, variable, ink, label, linestyle="none" if known.any() else "solid")
    classes = _classes(tree)
    dotted = {"color": colour("grey"), "linewidth": 1.2, "linestyle": (0, (1.0, 2.0))}
    left.axhline(-1 / (classes - 1), **dotted)
    left.set_title("cosine")
    left.legend(loc="best", fontsize=9)
    _curve(right, tree, name, "bias_mean", "green", "mean bias")
    right.axhline(1 / classes, **dotted)
    right.set_title("mean bias")
    for axes in (left, right):
        _value_axis(axes, tree, name)
    return figure


def _value_axis(axes: Axes, tree: xr.DataTree, name: str) -> None:
    """The axis of the listed values: logarithmic where they are positive and span more than a factor of 20."""
    values = tree["combinations"][name].to_numpy()
    if values.min() > 0 and values.max() > 20 * values.min():
        axes.set_xscale("log")
    axes.set_xlabel(str(tree["combinations"][name].attrs["long_name"]))


def _maps(tree: xr.DataTree, first: str, second: str) -> Figure:
    combined = tree["combinations"]
    across, column = np.unique(combined[first].to_numpy(), return_inverse=True)
    up, row = np.unique(combined[second].to_numpy(), return_inverse=True)
    figure = Figure(figsize=(11.0, 3.9))
    panels = figure.subplots(1, 3, sharey=True)
    grids = []
    for name, _, _ in _METRICS:
        grid = np.full((up.size, across.size), np.nan)
        grid[row, column] = np.log10(np.maximum(combined[name].to_numpy(), _FLOOR))
        grids.append(grid)
    finite = np.concatenate([grid[np.isfinite(grid)] for grid in grids])
    low, high = float(finite.min()), max(float(finite.max()), float(finite.min()) + 1e-3)
    image = None
    for axes, grid, (_, label, _) in zip(panels, grids, _METRICS, strict=True):
        image = axes.imshow(grid, origin="lower", aspect="auto", vmin=low, vmax=high, interpolation="nearest")
        _boundary(axes, grid)
        for y, x in np.argwhere(~np.isfinite(grid)):
            axes.plot(x, y, marker="x", color=colour("ink"))
        axes.grid(visible=False)
        axes.set_title(label)
        axes.set_xlabel(str(combined[first].attrs["long_name"]))
        _ticks(axes.set_xticks, across)
    panels[0].set_ylabel(str(combined[second].attrs["long_name"]))
    _ticks(panels[0].set_yticks, up)
    assert image is not None
    bar = figure.colorbar(image, ax=list(panels), shrink=0.95)
    bar.set_label("log₁₀ of the metric")
    return figure


def _boundary(axes: Axes, grid: np.ndarray) -> None:
    """The edges between cells on the two sides of the threshold: exact, where a contour would interpolate."""
    below = grid < np.log10(_COLLAPSED)
    known = np.isfinite(grid)
    style = {"color": colour("vermillion"), "linewidth": 2.2, "solid_capstyle": "projecting"}
    for y, x in np.argwhere((below[:, 1:] != below[:, :-1]) & known[:, 1:] & known[:, :-1]):
        axes.plot([x + 0.5, x + 0.5], [y - 0.5, y + 0.5], **style)
    for y, x in np.argwhere((below[1:] != below[:-1]) & known[1:] & known[:-1]):
        axes.plot([x - 0.5, x + 0.5], [y + 0.5, y + 0.5], **style)


def _ticks(place, values: np.ndarray) -> None:  # noqa: ANN001
    """At most six labelled cells, evenly spaced among them."""
    chosen = np.unique(np.linspace(0, values.size - 1, min(values.size, 6)).round().astype(int))
    place(chosen, [f"{values[index]:.3g}" for index in chosen])


def _classes(tree: xr.DataTree) -> int:
    return int(tree["combinations"].attrs["classes"])
