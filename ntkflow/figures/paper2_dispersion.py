"""Figures of paper 2 on the dispersion of the NTK: which scenarios, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import xarray as xr

from ntkflow.figures.paper_figure import PaperFigure, Stage
from ntkflow.report import Drawing, curves_drawing, ratio_drawing

_THREE = "architectures=[{width: 100}, {width: 200}, {width: 500}]"
_FEW = "monte_carlo.samples=500"
_LIMITS = ("exact", "limit", "published_limit")
_MOMENTS = ("exact", "published")


def _curves(
    name: str, theories: Sequence[str], *, bands: bool = False
) -> Callable[[Mapping[str, xr.DataTree]], Drawing]:
    return lambda results: curves_drawing(list(results.values()), name=name, theories=theories, bands=bands)


def _ratios(name: str) -> Callable[[Mapping[str, xr.DataTree]], Drawing]:
    return lambda results: ratio_drawing(list(results.values()), name=name)


def _figure(
    number: int,
    shows: str,
    scenario: str,
    draw: Callable[[Mapping[str, xr.DataTree]], Drawing],
    *,
    laptop: tuple[str, ...] = (),
    paper: tuple[str, ...] = (),
    label: str = "",
) -> PaperFigure:
    """A figure of one scenario, which others may share; ``label`` tells settings of one scenario apart."""
    name = f"{scenario}{label}"
    return PaperFigure(
        source=f"paper 2, Figure {number}",
        shows=shows,
        laptop=(Stage(name, f"figures/{scenario}.yaml", laptop),),
        paper=(Stage(f"{name}-paper", f"figures/{scenario}.yaml", paper),),
        draw=draw,
    )


_PHASES = (
    "ReLU networks of width 100, 200 and 500, α₀ = 1, 500 networks a point: E Θ²/E² Θ against L/M in three phases, "
)
_NEAR = "ReLU networks of width 200, α₀ = 2, 0.5 and 0.1, σ_w² near the edge of chaos: E Θ²/E² Θ against L/M, "
_OFF = "E Θ(x, x̃)/E Θ(x, x) of ReLU networks of width 100, 200 and 500 for five angles of the inputs, beside (18)."

PAPER_2: dict[str, PaperFigure] = {
    "paper2-fig1": _figure(
        1, _PHASES + "and Theorem 3.1.", "paper2-fig1", _curves("paper2-fig1", _LIMITS), paper=(_THREE, _FEW)
    ),
    "paper2-fig2": _figure(
        2, _NEAR + "and Theorem 3.2.", "paper2-fig2", _curves("paper2-fig2", _MOMENTS), paper=(_FEW,)
    ),
    "paper2-fig3": _figure(3, _OFF, "paper2-fig3", _ratios("paper2-fig3"), paper=(_THREE, _FEW)),
    "paper2-fig5": _figure(
        5,
        "(9) on the edge of chaos for α₀ from 1 to 0.1, and (8).",
        "paper2-fig5",
        _curves("paper2-fig5", ("limit", "published_limit")),
    ),
    "paper2-fig6": _figure(
        6,
        "Theorem 3.2 for widths that rise from 100 to 500, stay, or fall.",
        "paper2-fig6",
        _curves("paper2-fig6", _MOMENTS),
    ),
    "paper2-fig7": _figure(
        7,
        "As Figure 1 for pairs of inputs: width 200, α₀ = 2, 0.5 and 0.1, three angles.",
        "paper2-fig7",
        _curves("paper2-fig7", ()),
        paper=("architectures=[{width: 200}]", "input_to_width=[2.0, 0.5, 0.1]", _FEW),
    ),
    "paper2-fig8": _figure(
        8,
        "As Figure 2 for pairs of inputs.",
        "paper2-fig7",
        _curves("paper2-fig8", ()),
        laptop=("sigma_w_squared=[1.8, 1.9, 2.0, 2.1]",),
        paper=(
            "architectures=[{width: 200}]",
            "input_to_width=[2.0, 0.5, 0.1]",
            _FEW,
            "sigma_w_squared=[1.8, 1.9, 2.0, 2.1]",
        ),
        label="-near",
    ),
    "paper2-fig9": _figure(
        9,
        _PHASES + "with continuous error bars.",
        "paper2-fig1",
        _curves("paper2-fig9", _LIMITS, bands=True),
        paper=(_THREE, _FEW),
    ),
    "paper2-fig10": _figure(
        10,
        _NEAR + "with continuous error bars.",
        "paper2-fig2",
        _curves("paper2-fig10", _MOMENTS, bands=True),
        paper=(_FEW,),
    ),
    "paper2-fig11": _figure(
        11, _OFF + " Fewer lines, with error bars.", "paper2-fig3", _ratios("paper2-fig11"), paper=(_THREE, _FEW)
    ),
}
"""Figures 1 to 11 but 4."""
