"""Figures of mean-field scenarios: phases of a plane, profiles over depth, κ₂ and κ₁/κ₂ over depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour

Shown = Literal["kappa_2", "ratio"]

_SHOWN: dict[Shown, str] = {"kappa_2": "κ₂", "ratio": "κ₁/κ₂"}
_INKS = ("blue", "green", "vermillion", "purple", "orange", "sky")
_LARGE = 1e3
"""Panels whose numbers range over more than this have a logarithmic axis."""


def mean_field_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a mean-field result."""
    return (
        Drawing(
            "phases",
            "Phases of the initialisation",
            "Colour: ln χ₁ at infinite depth, cut at ±1.5; below 0 the ordered phase, above 0 the chaotic one. Solid "
            "line: the edge of chaos, χ₁ = 1 at infinite depth. Dotted line: where the product of χ₁ over the layers "
            "of the scenario's depth is 1. Dots: the initialisations that are followed.",
            lambda: _phases(tree),
        ),
        Drawing(
            "profiles",
            "Variance, correlation and χ₁ over the layers",
            "Against the layer: q, the variance of pre-activations; c, the correlation of two inputs, from each of the "
            "inputs' correlations; χ₁, what the variance of gradients is multiplied by on its way through the layer. "
            "One colour an initialisation (σ_w², σ_b²).",
            lambda: _profiles(tree),
        ),
        Drawing(
            "kernel",
            "Off-diagonal kernel over depth",
            "Upper row: κ₂; lower row: κ₁/κ₂, against the depth of the network, one panel an initialisation (σ_w², "
            "σ_b²). Colour: the correlation of the two inputs. Curves of κ₁/κ₂ leave out correlations that "
            "are not positive.",
            lambda: _kernel_panels([(str(tree["scenario"].attrs["name"]), tree)], ("kappa_2", "ratio")),
        ),
    )


def kernel_depth_figure(results: Sequence[tuple[str, xr.DataTree]], shown: Shown, *, name: str) -> Drawing:
    """κ₂ or κ₁/κ₂ over depth, a row of panels a result: paper 1, Figures 5 and 6.

    Args:
        results: of mean-field scenarios, by what the rows are called.
        shown: ``kappa_2`` or ``ratio``.
        name: of the drawing.
    """
    return Drawing(
        name,
        f"{_SHOWN[shown]} over depth",
        f"{_SHOWN[shown]} of networks of infinite width with constant widths (paper 1, Lemma 2) against the depth, one "
        "panel a pair (σ_w², σ_b²) in the ordered phase, at the edge of chaos and in the chaotic phase. Colour: the "
        f"correlation of the two inputs. Rows: {', '.join(title for title, _ in results)}.",
        lambda: _kernel_panels(results, (shown,)),
    )


def _titles(tree: xr.DataTree) -> list[str]:
    limits = tree["limits"].to_dataset()
    return [
        f"({weight:.4g}, {bias:.4g}), {phase}"
        for weight, bias, phase in zip(
            limits["sigma_w2"].to_numpy(), limits["sigma_b2"].to_numpy(), limits["phase"].to_numpy(), strict=True
        )
    ]


def _phases(tree: xr.DataTree) -> Figure:
    plane, limits = tree["plane"].to_dataset(), tree["limits"].to_dataset()
    weight, bias = plane["sigma_w2"].to_numpy(), plane["sigma_b2"].to_numpy()
    with np.errstate(divide="ignore"):
        shown = np.clip(np.log(plane["chi_1"].to_numpy().T), -1.5, 1.5)
    figure = Figure(figsize=(6.4, 3.8))
    axes = figure.subplots()
    image = axes.imshow(
        shown,
        origin="lower",
        aspect="auto",
        extent=_extent(weight, bias),
        vmin=-1.5,
        vmax=1.5,
        cmap="RdBu_r",
        interpolation="nearest",
    )
    axes.grid(False)
    # On the map's own colours, which are the same in both themes.
    along = plane["edge_sigma_b2"].to_numpy()
    axes.plot(plane["edge"].to_numpy(), along, color="black", linewidth=1.8)
    axes.plot(plane["edge_at_depth"].to_numpy(), along, color="black", linewidth=1.2, linestyle=":")
    axes.plot(limits["sigma_w2"].to_numpy(), limits["sigma_b2"].to_numpy(), "o", color="black")
    left, right, low, high = _extent(weight, bias)
    axes.set(xlim=(left, right), ylim=(low, high), xlabel="σ_w²", ylabel="σ_b²")
    figure.colorbar(image, ax=axes, label="ln χ₁ at infinite depth")
    return figure


def _extent(weight: np.ndarray, bias: np.ndarray) -> tuple[float, float, float, float]:
    half_w, half_b = (weight[1] - weight[0]) / 2, (bias[1] - bias[0]) / 2
    return (
        float(weight[0] - half_w),
        float(weight[-1] + half_w),
        float(bias[0] - half_b),
        float(bias[-1] + half_b),
    )


def _profiles(tree: xr.DataTree) -> Figure:
    profiles, titles = tree["profiles"].to_dataset(), _titles(tree)
    layers = profiles["layer"].to_numpy()
    figure = Figure(figsize=(9.6, 3.6))
    variance, correlation, chi = figure.subplots(1, 3)
    for index, title in enumerate(titles):
        ink = colour(_INKS[index])
        logs = profiles["log_variance"].to_numpy()[index] / math.log(10)
        variance.plot(layers, logs, color=ink, label=title)
        for values in profiles["correlation"].to_numpy()[index].T:
            correlation.plot(layers, values, color=ink, linewidth=1)
        chi.plot(profiles["hidden_layer"].to_numpy(), np.exp(profiles["log_chi_1"].to_numpy()[index]), color=ink)
    chi.axhline(1, color=colour("grey"), linestyle=":", linewidth=1.2)
    variance.set(xlabel="layer", title="log₁₀ q")
    correlation.set(xlabel="layer", title="c")
    chi.set(xlabel="layer", title="χ₁")
    figure.legend(*variance.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(titles), 3))
    return figure


def _colours() -> LinearSegmentedColormap:
    """The middle of a colour map: its ends are lost on the pages of the two themes."""
    return LinearSegmentedColormap.from_list(
        "ntkflow correlations", matplotlib.colormaps["cividis"](np.linspace(0.28, 0.9))
    )


def _kernel_panels(results: Sequence[tuple[str, xr.DataTree]], shown: Sequence[Shown]) -> Figure:
    columns = max(len(_titles(tree)) for _, tree in results)
    rows: list[tuple[str, xr.DataTree, Shown]] = [(title, tree, what) for title, tree in results for what in shown]
    figure = Figure(figsize=(max(2.9 * columns, 5.2) + 0.6, 2.7 * len(rows)))
    panels = figure.subplots(len(rows), columns, squeeze=False)
    scale = ScalarMappable(Normalize(*_correlation_range(results)), _colours())
    for line, (title, tree, what) in zip(panels, rows, strict=True):
        titles = _titles(tree)
        for index, axes in enumerate(line):
            if index >= len(titles):
                axes.set_visible(False)
                continue
            _curves(axes, tree, index, what, scale)
            axes.set_title(titles[index], fontsize=10)
            axes.set_xlabel("depth")
        line[0].set_ylabel(f"{title}: {_SHOWN[what]}" if len(results) > 1 else _SHOWN[what])
    figure.colorbar(scale, ax=panels, label="correlation of the inputs", shrink=0.8, aspect=30)
    return figure


def _correlation_range(results: Sequence[tuple[str, xr.DataTree]]) -> tuple[float, float]:
    values = np.concatenate([tree["kernels"]["correlation_of_inputs"].to_numpy() for _, tree in results])
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _curves(axes: Axes, tree: xr.DataTree, index: int, what: Shown, scale: ScalarMappable) -> None:
    kernels = tree["kernels"].to_dataset()
    depth = kernels["depth"].to_numpy()
    together = kernels["kernel_correlation"].to_numpy()[index]
    if what == "ratio":
        values = np.where(together > 0, 1 / np.where(together > 0, together, 1), np.nan)
    else:
        # Numbers beyond what an axis can hold are left out; results have their logarithms.
        own = kernels["log_kappa_1"].to_numpy()[index][:, None]
        values = np.where(np.abs(own) < 650, np.exp(np.clip(own, -650, 650)) * together, np.nan)
    colours = scale.to_rgba(kernels["correlation_of_inputs"].to_numpy())
    for curve, ink in zip(values.T, colours, strict=True):
        axes.plot(depth, curve, color=ink, linewidth=1.4)
    finite = values[np.isfinite(values) & (values > 0)]
    if finite.size and finite.max() > _LARGE * finite.min():
        axes.set_yscale("log")
