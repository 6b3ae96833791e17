"""How figures look: one light and one dark theme, the same colours for the same things in every figure.

The palette is Okabe and Ito's, which stays readable with any colour vision, made darker on white and lighter on black
until every line has a contrast of at least 3 : 1 to the page.
"""

from __future__ import annotations

import contextlib
import contextvars
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args

import matplotlib.style
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = get_args(Theme)

PAGE: dict[Theme, str] = {"light": "#fdfdfb", "dark": "#17191c"}
INK: dict[Theme, str] = {"light": "#1d2125", "dark": "#e4e4df"}
_FAINT: dict[Theme, str] = {"light": "#e2e2dc", "dark": "#33373c"}
_AXES: dict[Theme, str] = {"light": "#6b7076", "dark": "#9a9ea3"}

COLOURS: dict[Theme, dict[str, str]] = {
    "light": {
        "blue": "#00508f",
        "vermillion": "#bf4400",
        "green": "#129a74",
        "purple": "#8f2f73",
        "orange": "#c08700",
        "sky": "#4099d2",
        "grey": "#6b7075",
    },
    "dark": {
        "blue": "#4496dc",
        "vermillion": "#ee7430",
        "green": "#45dcab",
        "purple": "#d47ab2",
        "orange": "#f2c83c",
        "sky": "#b4e2fa",
        "grey": "#7f8388",
    },
}

PARTS: dict[str, str] = {"global mean": "blue", "class means": "vermillion", "within class": "green"}
"""The colour of each part of the residual."""

SOURCES: dict[str, dict[str, Any]] = {
    "real": {"linestyle": "solid", "linewidth": 2.0},
    "full frozen": {"linestyle": (0, (5.0, 2.0)), "linewidth": 1.6},
    "three values": {"linestyle": (0, (1.0, 1.6)), "linewidth": 1.9},
}
"""The line of each source of a curve: the trained network, its whole frozen kernel, the kernel's three block values."""

RUNGS: dict[str, tuple[str, Any]] = {
    "linearized": ("sky", (0, (6.0, 1.5, 1.0, 1.5))),
    "mean_jacobian_linear": ("ink", (0, (6.0, 1.5, 1.0, 1.5))),
    "mean_jacobian": ("ink", (0, (5.0, 2.0))),
    "updated_linear": ("orange", (0, (6.0, 1.5, 1.0, 1.5))),
    "updated": ("orange", (0, (5.0, 2.0))),
    "full_frozen": ("blue", "solid"),
    "neuron_diagonal": ("sky", "solid"),
    "isotropic": ("green", "solid"),
    "within_spectrum": ("green", (0, (5.0, 2.0))),
    "matrix_blocks": ("purple", "solid"),
    "neuron_values": ("purple", (0, (5.0, 2.0))),
    "three_values": ("vermillion", "solid"),
}
"""The colour and the dashes of each model of the kernel where they are all in one figure."""

_current: contextvars.ContextVar[Theme] = contextvars.ContextVar("theme", default="light")


def colour(name: str) -> str:
    """A colour of the palette in the theme that is being drawn; ``ink`` is that of the text."""
    theme = _current.get()
    return INK[theme] if name == "ink" else COLOURS[theme][_known(name, COLOURS[theme])]


def part_colour(part: str) -> str:
    """The colour of a part of the residual in the theme that is being drawn."""
    return colour(PARTS[_known(part, PARTS)])


def line(part: str, source: str) -> dict[str, Any]:
    """The keyword arguments of ``Axes.plot`` for the curve of one part of the residual from one source."""
    return {"color": part_colour(part), **SOURCES[_known(source, SOURCES)]}


def rung_line(model: str) -> dict[str, Any]:
    """The keyword arguments of ``Axes.plot`` for the curve of one model of the kernel."""
    name, dashes = RUNGS[_known(model, RUNGS)]
    return {"color": colour(name), "linestyle": dashes, "linewidth": 1.5}


@contextlib.contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Figures made inside have the look of ``theme``. Settings of before come back at the end."""
    token = _current.set(theme)
    try:
        # The defaults first: a user's own matplotlibrc must not change what a result looks like.
        with matplotlib.style.context(["default", rc(theme)]):
            yield
    finally:
        _current.reset(token)


def diverging() -> LinearSegmentedColormap:
    """From blue over the colour of the page to vermillion, in the theme that is being drawn: for differences."""
    theme = _current.get()
    ends = COLOURS[theme]["blue"], PAGE[theme], COLOURS[theme]["vermillion"]
    return LinearSegmentedColormap.from_list(_DIVERGING, ends)


def has_colours_of_its_theme_in_images(figure: Figure) -> bool:
    """Whether a figure holds an image with :func:`diverging`, whose pixels are of one theme."""
    return any(image.get_cmap().name == _DIVERGING for axes in figure.axes for image in axes.get_images())


_DIVERGING = "ntkflow difference"


def darkened(svg: str) -> str:
    """A figure that was drawn in the light theme, in the dark one: colour by colour, without drawing it again.

    No two colours of the light theme are alike, and lines and texts have no others. Images keep their pixels.
    """
    return _HEX.sub(lambda found: _DARK.get(found[0].lower(), found[0]), svg)


_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
_DARK = {
    **{COLOURS["light"][name]: COLOURS["dark"][name] for name in COLOURS["light"]},
    **{kind["light"]: kind["dark"] for kind in (PAGE, INK, _FAINT, _AXES)},
}


def rc(theme: Theme) -> dict[str, Any]:
    """Matplotlib's settings for ``theme``. Text of 11 pt on a figure 5.2 inches wide is still read at 400 pixels."""
    ink, axes = INK[theme], _AXES[theme]
    return {
        "figure.figsize": (5.2, 3.5),
        "figure.constrained_layout.use": True,
        "figure.facecolor": PAGE[theme],
        "figure.edgecolor": "none",
        "savefig.facecolor": "auto",
        "savefig.edgecolor": "auto",
        "svg.hashsalt": "ntkflow",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "mathtext.fontset": "dejavusans",
        "font.size": 11,
        "text.color": ink,
        "axes.titlesize": 11,
        "axes.titleweight": "normal",
        "axes.titlelocation": "left",
        "axes.labelsize": 11,
        "axes.labelcolor": ink,
        "axes.facecolor": PAGE[theme],
        "axes.edgecolor": axes,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.which": "major",
        "axes.prop_cycle": cycler(color=[value for name, value in COLOURS[theme].items() if name != "grey"]),
        "grid.color": _FAINT[theme],
        "grid.linewidth": 0.7,
        "xtick.color": axes,
        "ytick.color": axes,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.5,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 10,
        "legend.handlelength": 2.4,
        "legend.borderaxespad": 0.3,
        "image.cmap": "cividis",
    }


def _known(name: str, known: dict[str, Any]) -> str:
    if name not in known:
        raise KeyError(f"{name!r} is none of {', '.join(known)}")
    return name
