"""Paper 1, Figures 3, 4 and 8 to 11: how far Θ moves in training, over σ_w² and depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import xarray as xr

from ntkflow.figures.paper_figure import PaperFigure, Setting, Stage
from ntkflow.report import Drawing, plane_drawing, steps_drawing, widths_drawing

_SCENARIO = "figures/paper1-kernel-change.yaml"
_Activation = Literal["tanh", "relu"]

_SIGMA_W2: dict[tuple[_Activation, Setting], list[float]] = {
    ("relu", "laptop"): [1.0, 1.25, 1.5, 1.75, 2.0, 2.2, 2.4],
    ("tanh", "laptop"): [1.0, 2.0, 3.0, 3.5, 4.0, 5.0, 6.0],
    ("relu", "paper"): [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0],
    ("tanh", "paper"): [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0],
}
"""The source's figures have these axes, but its text does not say which values."""
_FEW: dict[_Activation, list[float]] = {"relu": [1.0, 1.5, 2.0, 2.4], "tanh": [1.0, 2.0, 3.5, 6.0]}
_PAPER = (
    # 128 is no multiple of ten classes.
    "data={source: mnist5k, samples_per_class: 13, normalization: standardized}",
    "depths=[2, 4, 6, 8, 10, 12, 14, 16, 18, 20]",
    "steps=100000",
    "measured_steps=[10, 100, 1000, 10000]",
)
_NETWORKS = {"tanh": "tanh", "relu": "ReLU"}


def _plane(activation: _Activation, setting: Setting) -> tuple[Stage, ...]:
    changes = (f"network.activation={activation}", f"sigma_w2={_SIGMA_W2[activation, setting]}")
    if setting == "laptop":
        return (Stage(f"paper1-{activation}", _SCENARIO, changes),)
    return (Stage(f"paper1-{activation}-paper", _SCENARIO, (*changes, *_PAPER, "widths=[256]")),)


def _widths(activation: _Activation, setting: Setting) -> tuple[Stage, ...]:
    if setting == "laptop":
        changes = (
            f"network.activation={activation}",
            f"sigma_w2={_FEW[activation]}",
            "depths=[2, 8, 16]",
            "widths=[32, 64, 128]",
            "seeds=3",
            "steps=1000",
            "measured_steps=[10, 100]",
        )
        return (Stage(f"paper1-{activation}-widths", _SCENARIO, changes),)
    changes = (f"network.activation={activation}", f"sigma_w2={_SIGMA_W2[activation, setting]}")
    return (Stage(f"paper1-{activation}-widths-paper", _SCENARIO, (*changes, *_PAPER, "widths=[128, 256, 512]")),)


def _drawn(draw: Callable[..., Drawing], name: str) -> Callable[[Mapping[str, xr.DataTree]], Drawing]:
    def of_its_only_result(results: Mapping[str, xr.DataTree]) -> Drawing:
        (tree,) = results.values()
        return draw(tree, name=name)

    return of_its_only_result


def _figure(
    number: int,
    activation: _Activation,
    shows: str,
    stages: Callable[[_Activation, Setting], tuple[Stage, ...]],
    draw: Callable[..., Drawing],
) -> PaperFigure:
    return PaperFigure(
        source=f"paper 1, Figure {number}",
        shows=f"{_NETWORKS[activation]} networks on 128 samples of MNIST, gradient descent with η = 10^-5 and early "
        f"stopping: {shows}",
        laptop=stages(activation, "laptop"),
        paper=stages(activation, "paper"),
        draw=_drawn(draw, f"paper1-fig{number}"),
    )


_AT_END = "‖Θᵗ − Θ⁰‖/‖Θ⁰‖ at the end of training and the minimal loss over σ_w² and depth, width 256."
_AFTER = "‖Θᵗ − Θ⁰‖/‖Θ⁰‖ after 10, 10², 10³ and 10⁴ steps over σ_w² and depth, width 256."
_BY_WIDTH = "‖Θᵗ − Θ⁰‖/‖Θ⁰‖ at the end of training over σ_w² and depth, widths 128, 256 and 512."

PAPER1_TRAINING: dict[str, PaperFigure] = {
    "paper1-fig3": _figure(3, "tanh", _AT_END, _plane, plane_drawing),
    "paper1-fig4": _figure(4, "relu", _AT_END, _plane, plane_drawing),
    "paper1-fig8": _figure(8, "tanh", _AFTER, _plane, steps_drawing),
    "paper1-fig9": _figure(9, "relu", _AFTER, _plane, steps_drawing),
    "paper1-fig10": _figure(10, "tanh", _BY_WIDTH, _widths, widths_drawing),
    "paper1-fig11": _figure(11, "relu", _BY_WIDTH, _widths, widths_drawing),
}
"""By name, as ``ntkflow figure NAME``."""
