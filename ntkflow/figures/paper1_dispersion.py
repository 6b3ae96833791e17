"""Figures of paper 1 on the variance of the NTK at initialisation: which scenarios, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import xarray as xr

from ntkflow.figures.paper_figure import PaperFigure, Stage
from ntkflow.report import Drawing, curves_drawing, map_drawing

_ALL = "architectures=[{width: 50}, {width: 100}, {width: 200}, {width: 500}]"
_TANH = ("activation=tanh", "sigma_w_squared=[1.0, 1.5, 2.0, 2.5, 3.0, 3.25, 3.5, 4.0, 4.5, 5.0]")
_BIASES = "sigma_b_squared=[0.1, 0.5, 1.0, 2.0]"
_LINES = (1.0, 1.5, 2.0, 3.0)
"""σ_w² of Figure 2."""
_ONE = "architectures=[{width: 100}]"


def _maps(name: str) -> Callable[[Mapping[str, xr.DataTree]], Drawing]:
    return lambda results: map_drawing(list(results.values()), name=name)


def _curves(results: Mapping[str, xr.DataTree]) -> Drawing:
    chosen = [tree.sel(sigma_w_squared=list(_LINES)) for tree in results.values()]
    return curves_drawing(chosen, name="paper1-fig2", theories=(), over="depth_to_width")


def _both(name: str, *overrides: str) -> tuple[Stage, ...]:
    file = "figures/paper1-fig1.yaml"
    return (Stage(f"{name}-relu", file, overrides), Stage(f"{name}-tanh", file, (*_TANH, *overrides)))


PAPER1_DISPERSION: dict[str, PaperFigure] = {
    "paper1-fig1": PaperFigure(
        source="paper 1, Figure 1",
        shows="E Θ²/E² Θ over (σ_w², L) of tanh and ReLU networks of width 50, 100, 200 and 500 with σ_b² = 1, 200 "
        "networks a point.",
        laptop=_both("paper1-fig1"),
        paper=_both("paper1-fig1-paper", _ALL, "monte_carlo.samples=200"),
        draw=_maps("paper1-fig1"),
    ),
    "paper1-fig2": PaperFigure(
        source="paper 1, Figure 2",
        shows="The same ratio of ReLU networks against L and L/M for several widths and initialisations.",
        laptop=_both("paper1-fig1")[:1],
        paper=_both("paper1-fig1-paper", _ALL, "monte_carlo.samples=200")[:1],
        draw=_curves,
    ),
    "paper1-fig7": PaperFigure(
        source="paper 1, Figure 7",
        shows="As Figure 1 for width 100 and several σ_b².",
        laptop=_both("paper1-fig7", _ONE, "sigma_b_squared=[0.1, 2.0]"),
        paper=_both("paper1-fig7-paper", _ONE, _BIASES, "monte_carlo.samples=200"),
        draw=_maps("paper1-fig7"),
    ),
}
"""Those of chapters 4 and D; the others are of training and of infinite width."""
