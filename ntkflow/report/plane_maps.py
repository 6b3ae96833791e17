"""Maps over the plane of σ_w² and depth, with the border of the phases."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ntkflow.report.axes import positive
from ntkflow.report.style import colour

MAPS = (
    "Colours are means over seeds, on a logarithmic scale. Dashed: the border χ₁ = 1 between the ordered phase, on its "
    "left, and the chaotic one. Dots: η > 2Z/λ_max(Θ) at the start of at least one network. Crosses: at least one "
    "network diverged, and the mean is over the others; empty cells: all of them did."
)
"""What the caption of every such figure says."""


@dataclasses.dataclass(frozen=True)
class PlaneMap:
    """One panel.

    Attributes:
        title: above it.
        values: over depth, σ_w², seed; NaN where there is none.
        plane: the networks of one width: ``end``, ``step_limit``, and the coordinates.
    """

    title: str
    values: np.ndarray
    plane: xr.Dataset


def draw_maps(figure: Figure, panels: Sequence[Axes], maps: Sequence[PlaneMap], tree: xr.DataTree, label: str) -> None:
    """Draw maps that share one scale of colours, and the scale beside them.

    Args:
        figure: theirs.
        panels: one for each map.
        maps: at least one.
        tree: a `kernel_change` result, for η and the border.
        label: of the scale.
    """
    means = [mean_over_seeds(one.values) for one in maps]
    finite = np.concatenate([positive(mean)[np.isfinite(positive(mean))] for mean in means])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.1, 1.0)
    norm = LogNorm(low, high if high > low else 1.01 * low)
    border, step = border_of(tree), float(tree["plane"].attrs["step_size"])
    image = None
    for axes, one, mean in zip(panels, maps, means, strict=True):
        sigma, depths = (one.plane[name].to_numpy() for name in ("sigma_w2", "depth"))
        rows = np.arange(len(depths))
        image = axes.pcolormesh(
            cell_edges(sigma), np.arange(len(depths) + 1) - 0.5, positive(mean), norm=norm, rasterized=True
        )
        axes.grid(False)
        if sigma[0] <= border <= sigma[-1]:
            axes.axvline(border, color=colour("vermillion"), linestyle=(0, (5, 3)), linewidth=1.8)
        diverged = (one.plane["end"].to_numpy() == 2).any(axis=-1)
        beyond = (step > one.plane["step_limit"].to_numpy()).any(axis=-1) & ~diverged
        for where, marker in ((beyond, "."), (diverged, "x")):
            row, column = np.nonzero(where)
            axes.plot(sigma[column], rows[row], marker, color=colour("vermillion"), markersize=5, linestyle="none")
        axes.set(title=one.title, xlabel="σ_w²", ylabel="depth L", yticks=rows, yticklabels=[str(d) for d in depths])
    if image is not None:
        figure.colorbar(image, ax=list(panels), label=label, shrink=0.95)


def border_of(tree: xr.DataTree) -> float:
    """σ_w² with χ₁ = 1; NaN if there is none."""
    return float(tree["theory"].to_dataset()["border"])


def mean_over_seeds(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    total = np.where(finite, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def error_over_seeds(values: np.ndarray) -> np.ndarray:
    """Standard error of :func:`mean_over_seeds`; NaN with fewer than two."""
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    apart = np.where(finite, values - mean_over_seeds(values)[..., None], 0.0)
    variance = (apart**2).sum(axis=-1) / np.maximum(count - 1, 1)
    return np.where(count > 1, np.sqrt(variance / np.maximum(count, 1)), np.nan)


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Edges of cells around rising numbers: half way between neighbours, and as far beyond the ends."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
