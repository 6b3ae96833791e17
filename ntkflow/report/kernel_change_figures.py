"""Figures of a plane of networks: change of Θ and minimal loss as maps, over steps, and against the width."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ntkflow.report.axes import positive
from ntkflow.report.drawing import Drawing
from ntkflow.report.plane_maps import MAPS, PlaneMap, border_of, draw_maps, error_over_seeds, mean_over_seeds
from ntkflow.report.style import colour

CHANGE_LABEL = "‖Θᵗ − Θ⁰‖/‖Θ⁰‖"
_LOSS_LABEL = "minimal loss"
_INKS = ("blue", "green", "vermillion")


def kernel_change_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a `kernel_change` result, as far as it has several steps and widths."""
    plane = tree["plane"].to_dataset()
    drawings = [plane_drawing(tree, name="plane")]
    if "step" in plane.dims and plane.sizes["step"]:
        drawings += [
            steps_drawing(tree, name="steps"),
            Drawing(
                "curves",
                "Change of the kernel over training",
                f"{_measure(tree)} against the step, for networks of the largest width, a panel for each of up to four "
                "depths. Lines: means over seeds; bands: one standard error. Last points: the end of training.",
                lambda: _curves(tree),
            ),
        ]
    if plane.sizes["width"] > 1:
        drawings.append(
            Drawing(
                "widths",
                "Change of the kernel against width",
                f"{_measure(tree)} at the end of training against the width M, a panel for each of up to four depths. "
                "Dots with bars: mean over seeds and its standard error. Dotted: a power law of exponent −1 through "
                "the smallest σ_w² at the largest width.",
                lambda: _widths(tree),
            )
        )
    return tuple(drawings)


def plane_drawing(tree: xr.DataTree, *, name: str) -> Drawing:
    """Change at the end and minimal loss, a row for each width: paper 1, Figures 3 and 4."""
    return Drawing(
        name,
        f"Change of the kernel and minimal loss, {_activation(tree)} networks",
        f"a: {_measure(tree)} at the end of training. b: smallest loss ‖R‖²/(2Z) of a training. Over σ_w² and the "
        f"number of layers with weights, for each width M. {MAPS}",
        lambda: _plane(tree),
    )


def steps_drawing(tree: xr.DataTree, *, name: str) -> Drawing:
    """Change after chosen steps, for the largest width: paper 1, Figures 8 and 9."""
    return Drawing(
        name,
        f"Change of the kernel after some steps, {_activation(tree)} networks",
        f"{_measure(tree)} after the steps above each panel, or at the end of a training that ended before, for the "
        f"largest width. {MAPS} What ended, or diverged, is marked in every panel.",
        lambda: _steps(tree),
    )


def widths_drawing(tree: xr.DataTree, *, name: str) -> Drawing:
    """Change at the end, a panel for each width: paper 1, Figures 10 and 11."""
    return Drawing(
        name,
        f"Change of the kernel by width, {_activation(tree)} networks",
        f"{_measure(tree)} at the end of training, a panel for each width M. {MAPS}",
        lambda: _by_width(tree),
    )


def _activation(tree: xr.DataTree) -> str:
    return str(tree["plane"].attrs["activation"])


def _measure(tree: xr.DataTree) -> str:
    traced = "Σ_k" in str(tree["plane"]["final_change"].attrs["long_name"])
    kernel = "Θ traced over the outputs" if traced else "Θ of all pairs of outputs"
    return f"‖Θᵗ − Θ⁰‖_F/‖Θ⁰‖_F, {kernel}, on the training samples,"


def _of_width(tree: xr.DataTree, index: int) -> xr.Dataset:
    return tree["plane"].to_dataset().isel(width=index)


def _maps(tree: xr.DataTree, variable: str) -> list[PlaneMap]:
    """One for each width."""
    planes = [_of_width(tree, index) for index in range(tree["plane"].sizes["width"])]
    return [PlaneMap(f"M = {int(one['width'])}", one[variable].to_numpy(), one) for one in planes]


def _plane(tree: xr.DataTree) -> Figure:
    rows = tree["plane"].sizes["width"]
    figure = Figure(figsize=(9.4, 0.5 + 3.0 * rows))
    panels = figure.subplots(rows, 2, squeeze=False)
    draw_maps(figure, list(panels[:, 0]), _lettered("a", _maps(tree, "final_change")), tree, CHANGE_LABEL)
    draw_maps(figure, list(panels[:, 1]), _lettered("b", _maps(tree, "minimal_loss")), tree, _LOSS_LABEL)
    return figure


def _lettered(letter: str, maps: list[PlaneMap]) -> list[PlaneMap]:
    return [PlaneMap(f"{letter}  {one.title}", one.values, one.plane) for one in maps]


def _steps(tree: xr.DataTree) -> Figure:
    plane = _of_width(tree, -1)
    steps = plane["step"].to_numpy()
    columns = min(len(steps), 4)
    rows = -(-len(steps) // columns)
    figure = Figure(figsize=(2.9 * columns + 1.2, 0.4 + 3.0 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in panels[len(steps) :]:
        axes.set_axis_off()
    maps = [
        PlaneMap(
            f"{chr(ord('a') + index)}  step {step}",
            plane["change"].transpose("depth", "sigma_w2", "seed", "step").to_numpy()[..., index],
            plane,
        )
        for index, step in enumerate(steps)
    ]
    draw_maps(figure, list(panels[: len(steps)]), maps, tree, CHANGE_LABEL)
    return figure


def _by_width(tree: xr.DataTree) -> Figure:
    count = tree["plane"].sizes["width"]
    figure = Figure(figsize=(3.4 * count + 1.2, 3.4))
    maps = [
        PlaneMap(f"{chr(ord('a') + index)}  {one.title}", one.values, one.plane)
        for index, one in enumerate(_maps(tree, "final_change"))
    ]
    draw_maps(figure, figure.subplots(1, count, squeeze=False)[0], maps, tree, CHANGE_LABEL)
    return figure


def _chosen(tree: xr.DataTree) -> tuple[list[int], list[int]]:
    """Up to four depths, and up to three σ_w²: the smallest, the nearest to the border, the largest."""
    plane = tree["plane"].to_dataset()
    sigma, border = plane["sigma_w2"].to_numpy(), border_of(tree)
    middle = len(sigma) // 2 if np.isnan(border) else int(np.argmin(np.abs(sigma - border)))
    count = plane.sizes["depth"]
    depths = sorted({round(place) for place in np.linspace(0, count - 1, min(count, 4))})
    return depths, sorted({0, middle, len(sigma) - 1})


def _curves(tree: xr.DataTree) -> Figure:
    plane, (depths, chosen) = _of_width(tree, -1), _chosen(tree)
    figure = Figure(figsize=(3.0 * len(depths) + 1.6, 3.4))
    panels = figure.subplots(1, len(depths), squeeze=False, sharey=True)[0]
    end = float(tree["plane"].attrs["steps"])
    steps = np.append(plane["step"].to_numpy().astype(float), end)
    values = np.concatenate(
        [
            plane["change"].transpose("depth", "sigma_w2", "step", "seed").to_numpy(),
            plane["final_change"].transpose("depth", "sigma_w2", "seed").to_numpy()[:, :, None],
        ],
        axis=2,
    )
    for axes, depth in zip(panels, depths, strict=True):
        for index, ink in zip(chosen, _INKS, strict=False):
            mean, error = mean_over_seeds(values[depth, index]), error_over_seeds(values[depth, index])
            label = f"σ_w² = {float(plane['sigma_w2'][index]):g}"
            axes.plot(steps, positive(mean), marker="o", markersize=3, color=colour(ink), label=label)
            axes.fill_between(
                steps, positive(mean - error), positive(mean + error), color=colour(ink), alpha=0.25, linewidth=0
            )
        axes.set(title=f"L = {int(plane['depth'][depth])}", xscale="log", yscale=_scale(values), xlabel="step")
    panels[0].set_ylabel(CHANGE_LABEL)
    panels[-1].legend(fontsize=8)
    return figure


def _widths(tree: xr.DataTree) -> Figure:
    plane, (depths, chosen) = tree["plane"].to_dataset(), _chosen(tree)
    figure = Figure(figsize=(3.0 * len(depths) + 1.6, 3.4))
    panels = figure.subplots(1, len(depths), squeeze=False, sharey=True)[0]
    widths = plane["width"].to_numpy().astype(float)
    values = plane["final_change"].transpose("depth", "sigma_w2", "width", "seed").to_numpy()
    for axes, depth in zip(panels, depths, strict=True):
        for index, ink in zip(chosen, _INKS, strict=False):
            mean, error = mean_over_seeds(values[depth, index]), error_over_seeds(values[depth, index])
            label = f"σ_w² = {float(plane['sigma_w2'][index]):g}"
            axes.errorbar(widths, positive(mean), error, marker="o", color=colour(ink), linewidth=1.2, label=label)
        last = mean_over_seeds(values[depth, chosen[0]])[-1]
        axes.plot(widths, last * widths[-1] / widths, color=colour("grey"), linestyle=":")
        axes.set(title=f"L = {int(plane['depth'][depth])}", xscale="log", yscale=_scale(values), xlabel="width M")
        axes.set_xticks(widths, [f"{width:g}" for width in widths])
        axes.set_xticks([], minor=True)
    panels[0].set_ylabel(CHANGE_LABEL)
    panels[-1].legend(fontsize=8)
    return figure


def _scale(values: np.ndarray) -> str:
    """Logarithmic, but where every network diverged there is nothing that such an axis could show."""
    return "log" if (values > 0).any() else "linear"
