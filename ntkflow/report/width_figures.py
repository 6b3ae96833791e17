"""Figures of a study of widths: distances against the width, error over training, weights that hardly move."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ntkflow.report.axes import time_label
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour

_TITLES = {
    "kernel_error": "kernel at the start\nfrom infinite width",
    "output_deviation": "outputs from\nthe linearisation",
    "parameter_change": "parameters moved\n‖θ − θ₀‖/√m",
    "kernel_change": "kernel moved\n‖Θ − Θ₀‖",
    "training_curve": "training error from\nthe linearisation's",
    "test_curve": "test error from\nthe linearisation's",
}


_ERRORS = ("squared_error", "linear_squared_error")


def width_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a study of widths."""
    return (
        Drawing(
            "distances",
            "Distance from the theory against width",
            "Dots: networks. Line: fitted power law, its exponent with the 95 % interval. Dotted: a power law of "
            "exponent −1/2 through the mean of the largest width.",
            lambda: _distances(tree),
        ),
        Drawing(
            "training",
            "Errors of real networks and of infinite width",
            "Mean squared error over samples and outputs against gradient-flow time η·step, training samples on the "
            "left, test samples on the right. Dots with bars: mean over seeds and twice its standard error. Thin "
            "lines: the same networks' linearisations, mean over seeds. Line: expected of a network of infinite "
            "width, the error of the mean and the variance over starts together. Dashed: of the mean alone.",
            lambda: _training(tree),
        ),
        Drawing(
            "weights",
            "Weights before and after training",
            "A corner of the last hidden layer's W at the start, at the end, and the difference, of the smallest and "
            "of the largest width; all panels of a row on one scale, ± its largest entry before training.",
            lambda: _weights(tree),
        ),
    )


def _distances(tree: xr.DataTree) -> Figure:
    networks, fits = tree["networks"].to_dataset(), tree["fits"].to_dataset()
    widths = networks["width"].to_numpy().astype(float)
    figure = Figure(figsize=(7.8, 5.6))
    for axes, (name, title) in zip(figure.subplots(2, 3).flat, _TITLES.items(), strict=True):
        values, law = networks[name].to_numpy(), fits.sel(distance=name)
        axes.plot(np.repeat(widths, values.shape[1]), values.reshape(-1), ".", color=colour("blue"), markersize=4)
        axes.plot(widths, float(law["factor"]) * widths ** float(law["exponent"]), color=colour("blue"), linewidth=1.2)
        end = np.exp(np.log(values[-1]).mean())
        axes.plot(widths, end * (widths / widths[-1]) ** -0.5, color=colour("grey"), linestyle=":")
        low, high = law["exponent_interval"].to_numpy()
        axes.set(xscale="log", yscale="log", xlabel="width")
        axes.set_xticks(widths, [f"{width:.0f}" for width in widths], rotation=45)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(f"{title}\n{float(law['exponent']):.2f}  [{low:.2f}, {high:.2f}]", fontsize=9)
    return figure


def _training(tree: xr.DataTree) -> Figure:
    networks, theory = tree["networks"].to_dataset(), tree["theory"].to_dataset()
    times = theory["time"].to_numpy()
    times = np.maximum(times, times[1] / 2)
    figure = Figure(figsize=(9.6, 4.2))
    widths = networks["width"].to_numpy()
    chosen = sorted({0, len(widths) // 2, len(widths) - 1})
    label = time_label(str(tree["scenario"].attrs["loss_scale"]))
    for axes, samples in zip(figure.subplots(1, 2), ("training", "test"), strict=True):
        real, linear = (networks[name].sel(samples=samples).to_numpy() for name in _ERRORS)
        for index, ink in zip(chosen, ("orange", "sky", "blue"), strict=False):
            values = real[index]
            error = 2 * values.std(axis=0, ddof=1) / np.sqrt(len(values))
            shift = 1 + 0.04 * (index - len(widths) // 2) / len(widths)
            axes.errorbar(
                times * shift,
                values.mean(axis=0),
                error,
                fmt="o",
                markersize=3.5,
                linewidth=1,
                color=colour(ink),
                label=f"width {widths[index]}",
            )
            axes.plot(times, linear[index].mean(axis=0), color=colour(ink), linewidth=0.9)
        mean, variance = (
            theory[name].sel(samples=samples).to_numpy() for name in ("squared_error", "ensemble_variance")
        )
        axes.plot(times, mean + variance, color=colour("vermillion"), label="infinite width")
        axes.plot(times, mean, color=colour("vermillion"), linestyle="--", linewidth=1, label="mean of many")
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel=f"mean squared {samples} error")
        axes.legend()
    return figure


def _weights(tree: xr.DataTree) -> Figure:
    networks = tree["networks"].to_dataset()
    weights, widths = networks["weights"].to_numpy(), networks["width"].to_numpy()
    figure = Figure(figsize=(7.4, 4.9))
    for row, (pair, width) in enumerate(zip(weights, (widths[0], widths[-1]), strict=True)):
        scale = float(np.nanmax(np.abs(pair[0])))
        panels = (("before", pair[0]), ("after", pair[1]), ("difference", pair[1] - pair[0]))
        for column, (name, values) in enumerate(panels):
            axes = figure.add_subplot(2, 3, 3 * row + column + 1)
            axes.imshow(values, cmap="RdBu_r", vmin=-scale, vmax=scale, interpolation="nearest")
            axes.set_title(f"width {width}, {name}", fontsize=9)
            axes.grid(False)
            axes.set(xticks=[], yticks=[])
    return figure
