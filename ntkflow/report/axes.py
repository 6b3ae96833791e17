"""Small things every figure does alike: labels of time, log axes that survive zeros, a legend of parts and sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ntkflow.report.style import PARTS, SOURCES, colour, part_colour

PART_LABELS = tuple(PARTS)
"""Names of the residual's parts in figures, in the order in which results store them."""
EIGENSPACES = ("global_mean", "class_means", "within_class")
"""How results name these parts, in the same order."""


def time_label(loss_scale: str) -> str:
    """The label of a time axis; ``loss_scale`` reads like "Z = 80"."""
    return f"gradient-flow time ({loss_scale})"


def positive(values: np.ndarray) -> np.ndarray:
    """The values with those a log axis cannot show left out."""
    return np.where(values > 0, values, np.nan)


def part_legend(axes: Axes, sources: Sequence[str], labels: Sequence[str] | None = None, **options: Any) -> None:
    """One legend for colours (parts) and line styles (sources), which are called ``labels`` if those are given."""
    handles = [Line2D([], [], color=part_colour(part), label=part) for part in PARTS]
    if len(sources) > 1:
        handles += [
            Line2D([], [], color=colour("grey"), label=label, **SOURCES[source])
            for source, label in zip(sources, labels or sources, strict=True)
        ]
    axes.legend(handles=handles, **options)


def marks_of_few(times: np.ndarray) -> str:
    """The marker of a curve at so few times that its line may not show: at ten or fewer, else none.

    A logarithmic axis leaves out the time 0, and one point after it is no line.
    """
    return "o" if np.isfinite(times).sum() <= 10 else ""
