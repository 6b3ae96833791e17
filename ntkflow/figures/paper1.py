"""The figures of paper 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import xarray as xr

from ntkflow.figures.paper_figure import PaperFigure, Stage
from ntkflow.report import Drawing, kernel_depth_figure

_KERNELS = tuple(
    Stage(f"paper1-fig5-{activation}", f"figures/paper1-fig5-{activation}.yaml") for activation in ("erf", "relu")
)


def _kernel_over_depth(number: int, shown: Literal["kappa_2", "ratio"], shows: str) -> PaperFigure:
    def draw(results: Mapping[str, xr.DataTree]) -> Drawing:
        rows = [(name.rpartition("-")[2], tree) for name, tree in results.items()]
        return kernel_depth_figure(rows, shown, name=f"paper1-fig{number}")

    # Nothing is trained or drawn at random: both settings are the same.
    return PaperFigure(f"paper 1, Figure {number}", shows, _KERNELS, _KERNELS, draw)


PAPER_1: dict[str, PaperFigure] = {
    "paper1-fig5": _kernel_over_depth(
        5,
        "kappa_2",
        "κ₂ against depth for erf and ReLU networks in the ordered and chaotic phases and at the border between them; "
        "the colour is the covariance of the inputs.",
    ),
    "paper1-fig6": _kernel_over_depth(
        6,
        "ratio",
        "κ₁/κ₂ against depth for erf and ReLU networks in the ordered and chaotic phases and at the border between "
        "them; the colour is the covariance of the inputs.",
    ),
}
"""By name, as ``ntkflow figure NAME``."""
