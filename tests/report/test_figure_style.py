"""Colours that can be told from the page and from each other, in both themes and with any colour vision."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ntkflow.report import colour, line, part_colour, themed
from ntkflow.report.style import COLOURS, INK, PAGE, PARTS, SOURCES, THEMES, Theme

# Machado, Oliveira and Fernandes (2009), severity 1.
VISION = {
    "normal": np.eye(3),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}


def linear(hexadecimal: str) -> np.ndarray:
    channels = np.array([int(hexadecimal[index : index + 2], 16) for index in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    low, high = sorted(float(linear(value) @ [0.2126, 0.7152, 0.0722]) + 0.05 for value in (first, second))
    return high / low


def lab(channels: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ np.clip(channels, 0, 1) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", THEMES)
def test_contrast_to_the_page(theme: Theme) -> None:
    assert contrast(INK[theme], PAGE[theme]) > 12
    for name, value in COLOURS[theme].items():
        assert contrast(value, PAGE[theme]) >= 3, name


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", VISION)
def test_the_parts_can_be_told_apart(theme: Theme, vision: str) -> None:
    seen = [lab(VISION[vision] @ linear(COLOURS[theme][name])) for name in PARTS.values()]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20


@pytest.mark.parametrize("theme", THEMES)
def test_colours_follow_the_theme(theme: Theme) -> None:
    with themed(theme):
        assert colour("blue") == part_colour("global mean") == COLOURS[theme]["blue"]
        assert colour("ink") == INK[theme]
        assert Figure().get_facecolor() == to_rgba(PAGE[theme])


def test_every_source_has_its_own_line() -> None:
    assert set(SOURCES) == {"real", "full frozen", "three values"}
    assert len({str(line("class means", source)["linestyle"]) for source in SOURCES}) == 3


def test_settings_come_back_and_those_of_before_do_not_matter() -> None:
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "lines.marker": "o"}):
        with themed("dark"):
            assert matplotlib.rcParams["font.size"] == 11
            assert matplotlib.rcParams["lines.marker"] == "None"
            assert matplotlib.rcParams["svg.hashsalt"] == "ntkflow"
        assert matplotlib.rcParams["font.size"] == 30
        assert colour("ink") == INK["light"]


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="none of global mean, class means, within class"):
        part_colour("mean")
    with pytest.raises(KeyError, match="none of real, full frozen, three values"):
        line("class means", "frozen")
    with pytest.raises(KeyError, match="none of blue, "):
        colour("mauve")
