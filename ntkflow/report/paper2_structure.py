"""Paper 2, Figure 4: how Θ of deep networks turns to blocks in training, for several variances of initial weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkflow.report.drawing import Drawing
from ntkflow.report.kernel_figures import matrix_image
from ntkflow.report.style import colour

_INKS = ("blue", "vermillion", "green", "purple", "orange")
_CURVES = (
    ("a  test loss", "losses", "loss", {"split": "test"}),
    ("b  training loss", "losses", "loss", {"split": "train"}),
    ("c  Θ_d", "block_values", "logit_block_value", {"block_value": 0}),
    ("d  Θ_c/Θ_d", "block_values", "logit_block_ratio", {"block_ratio": 0}),
    ("e  Θ_n/Θ_d", "block_values", "logit_block_ratio", {"block_ratio": 1}),
)


@dataclasses.dataclass(frozen=True)
class DeepRun:
    """One variance of initial weights.

    Attributes:
        label: what it is called.
        training: a `training` result.
        kernels: epochs, and a `kernel` result of Θ at each.
    """

    label: str
    training: xr.DataTree
    kernels: Sequence[tuple[int, xr.DataTree]]


def structure_in_training_figure(runs: Sequence[DeepRun], *, name: str) -> Drawing:
    """Panes a to e of paper 2, Figure 4, and its heat maps below.

    Args:
        runs: of networks that differ in the variance of their initial weights.
        name: stem of the files.
    """
    return Drawing(
        name,
        "How Θ of deep networks changes in training",
        "a, b: loss on test and training samples. c: mean Θ(x, x) of the training samples. d, e: mean over pairs of "
        "distinct samples of one class, and of samples of two classes, over that (paper 2, (23)). Below: Θ, the mean "
        "over outputs, on samples sorted by class, a row a network, a column an epoch; colours from the smallest to "
        "the largest value of each map.",
        lambda: _figure(runs),
    )


def _figure(runs: Sequence[DeepRun]) -> Figure:
    columns = len(runs[0].kernels)
    figure = Figure(figsize=(12.0, 3.0 + 2.3 * len(runs)))
    halves: Any = figure.subfigures(2, 1, height_ratios=(3.0, 2.3 * len(runs)))
    above, below = halves
    for axes, (title, group, variable, at) in zip(above.subplots(1, 5), _CURVES, strict=True):
        for ink, run in zip(_INKS, runs, strict=False):
            array = run.training[group][variable]
            for dimension, key in at.items():
                array = array.isel({dimension: key}) if isinstance(key, int) else array.sel({dimension: key})
            axes.plot(array["epoch"].to_numpy(), array.to_numpy(), color=colour(ink), marker="o", markersize=3)
        axes.set_xscale("symlog", linthresh=1)
        axes.set(title=title, xlabel="epoch", xlim=(-0.3, None))
        if variable == "loss" or (group == "block_values" and title.startswith("c")):
            axes.set_yscale("log")
    handles = [Line2D([], [], color=colour(ink), label=run.label) for ink, run in zip(_INKS, runs, strict=False)]
    above.legend(handles=handles, loc="outside lower center", ncols=len(runs))
    grid = below.subplots(len(runs), columns, squeeze=False)
    for row, run in zip(grid, runs, strict=True):
        for axes, (epoch, tree) in zip(row, run.kernels, strict=True):
            matrix = tree["logits"]["kernel"].to_numpy()[-1]
            matrix_image(axes, matrix, vmin=float(np.min(matrix)), vmax=float(np.max(matrix)))
            axes.set_xticks([])
            axes.set_yticks([])
            if run is runs[0]:
                axes.set_title(f"epoch {epoch}")
        row[0].set_ylabel(run.label)
    return figure
