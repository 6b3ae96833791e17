"""A figure before and after it is drawn."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable, Iterable

from matplotlib.figure import Figure

from ntkflow.report.powers import write_plain_powers
from ntkflow.report.style import darkened, has_colours_of_its_theme_in_images, themed
from ntkflow.results.folder import ResultFolder

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PNG_DPI = 150


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What a figure shows, and how to draw it.

    Attributes:
        name: the stem of the figure's files: lower case, digits, ``-`` and ``_``.
        title: what it is, in a few words.
        caption: what the axes, colours and lines mean, in full sentences; it stands for the figure to those who
            cannot see it.
        draw: makes a new ``matplotlib.figure.Figure``, never through pyplot. It takes its colours from
            :mod:`ntkflow.report.style`, and none from elsewhere but those of colour maps.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a figure's files: lower case, digits, - and _ only")


@dataclasses.dataclass(frozen=True)
class RenderedFigure:
    """A drawn figure: SVG text for both themes, and a PNG of the light one."""

    name: str
    title: str
    caption: str
    svg_light: str = dataclasses.field(repr=False)
    svg_dark: str = dataclasses.field(repr=False)
    png: bytes = dataclasses.field(repr=False)


def render(drawing: Drawing) -> RenderedFigure:
    """Draws a figure in both themes. The same drawing gives the same bytes each time."""
    with themed("light"):
        figure, light = _draw(drawing)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    if has_colours_of_its_theme_in_images(figure):
        with themed("dark"):
            dark = _draw(drawing)[1]
    else:
        dark = darkened(light)
    return RenderedFigure(drawing.name, drawing.title, drawing.caption, light, dark, png.getvalue())


def write_figures(folder: ResultFolder, drawings: Iterable[Drawing]) -> tuple[RenderedFigure, ...]:
    """Draws each figure and writes ``figures/NAME.svg``, ``figures/NAME-dark.svg`` and ``figures/NAME.png``."""
    rendered: list[RenderedFigure] = []
    for drawing in drawings:
        if any(figure.name == drawing.name for figure in rendered):
            raise ValueError(f"two figures are named {drawing.name!r}")
        figure = render(drawing)
        folder.write_text(f"figures/{figure.name}.svg", figure.svg_light)
        folder.write_text(f"figures/{figure.name}-dark.svg", figure.svg_dark)
        folder.write_bytes(f"figures/{figure.name}.png", figure.png)
        rendered.append(figure)
    return tuple(rendered)


def _draw(drawing: Drawing) -> tuple[Figure, str]:
    """The figure in the theme of the moment, laid out, and its SVG."""
    figure, svg = drawing.draw(), io.StringIO()
    write_plain_powers(figure)
    # The layout takes as long as the drawing: it is found once, for all files.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    # No date and no version of matplotlib: the files would differ from run to run, or from machine to machine.
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "ntkflow", "Title": drawing.title})
    return figure, svg.getvalue()
