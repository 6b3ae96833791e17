"""Figures of a residuals scenario: gradient-descent steps beside the flow, for every step size."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ntkflow.report.axes import PART_LABELS, part_legend, positive
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import line, part_colour


def residuals_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a residuals result."""
    return (
        Drawing(
            "residuals",
            "Residual by eigenspace under a constant block kernel",
            "Norms of the residual's three parts against gradient-flow time t = η·step. Dots: gradient descent. "
            "Lines: the "
            "gradient flow. One panel for each step size η; above the largest stable step the part with the largest "
            "eigenvalue grows.",
            lambda: _residuals(tree),
        ),
    )


def _residuals(tree: xr.DataTree) -> Figure:
    theory = tree["theory"].to_dataset()
    sizes = theory["step_size"].to_numpy()
    columns = min(len(sizes), 3)
    rows = -(-len(sizes) // columns)
    figure = Figure(figsize=(max(2.9 * columns, 5.2), 3.2 * rows))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).reshape(-1)
    limit = float(theory["step_limit"])
    start = theory["descent_norm"].to_numpy()[0, 0]
    # Before anything is drawn: matplotlib cannot scale an axis to norms of 1e300.
    panels[0].set_ylim(start[start > 0].min() * 1e-6, start.max() * 1e3)
    for index, axes in enumerate(panels):
        if index >= len(sizes):
            axes.set_visible(False)
            continue
        # Step 0 has no place on a logarithmic axis: the curves start at the first step.
        times = theory["time"].to_numpy()[index, 1:]
        for part, name in enumerate(PART_LABELS):
            axes.loglog(times, positive(theory["flow_norm"].to_numpy()[index, 1:, part]), **line(name, "real"))
            descent = positive(theory["descent_norm"].to_numpy()[index, 1:, part])
            axes.loglog(times[_spread(times)], descent[_spread(times)], ".", color=part_colour(name))
        axes.set_title(f"η = {sizes[index]:.3g}" + (" (unstable)" if sizes[index] > limit else ""))
        axes.set_xlabel(f"time ({tree['scenario'].attrs['loss_scale']})")
    panels[0].set_ylabel("‖R_e‖_F")
    part_legend(panels[0], [], loc="lower left", fontsize=9)
    return figure


def _spread(times: np.ndarray) -> np.ndarray:
    """Indices of about thirty times that are evenly spread on a logarithmic axis: as many dots as can be told apart."""
    wanted = np.geomspace(times[0], times[-1], 30)
    return np.unique(np.abs(times[None, :] - wanted[:, None]).argmin(axis=1))
