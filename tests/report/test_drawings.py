"""Figures come out in two themes, the same bytes each time, and without pyplot."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from report.training_tree import training_tree

from ntkflow.report import Drawing, kernel_heat_map, render, style, themed, training_drawings, write_figures
from ntkflow.report.drawing import _draw
from ntkflow.report.encoding import data_uri, natural_width
from ntkflow.report.style import COLOURS, PAGE, THEMES
from ntkflow.results import ResultFolder


def test_both_themes(drawing: Drawing) -> None:
    figure = render(drawing)
    assert (figure.name, figure.title, figure.caption) == (drawing.name, drawing.title, drawing.caption)
    for svg, theme in zip((figure.svg_light, figure.svg_dark), THEMES, strict=True):
        assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert PAGE[theme] in svg
        assert COLOURS[theme]["blue"] in svg
    assert figure.png.startswith(b"\x89PNG")
    assert int.from_bytes(figure.png[16:20]) == round(5.2 * 150)


def test_the_same_bytes_each_time(drawing: Drawing) -> None:
    first = render(drawing)
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None}):
        assert render(drawing) == first


def test_files(tmp_path: Path, drawing: Drawing) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    (figure,) = write_figures(folder, [drawing])
    files = {path.name: path.read_bytes() for path in (folder.path / "figures").iterdir()}
    assert files == {
        "decay.svg": figure.svg_light.encode(),
        "decay-dark.svg": figure.svg_dark.encode(),
        "decay.png": figure.png,
    }


def test_two_figures_of_one_name(tmp_path: Path, drawing: Drawing) -> None:
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    with pytest.raises(ValueError, match="two figures are named 'decay'"):
        write_figures(folder, [drawing, drawing])


@pytest.mark.parametrize("name", ["", "a b", "../up", "Capital", ".hidden", "a.svg"])
def test_names_for_files(name: str) -> None:
    with pytest.raises(ValueError, match="no name for a figure's files"):
        Drawing(name, "", "", lambda: pytest.fail("not drawn"))


def test_pyplot_is_not_needed() -> None:
    program = "import ntkflow.report, sys; sys.exit('matplotlib.pyplot' in sys.modules or 'jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("svg", "width"),
    [
        ('<?xml?><svg height="2pt" width="374.4pt" viewBox="0 0 1 1">', 499),
        ('<svg width="300px">', 300),
        ('<svg width="12">', 12),
        ('<svg viewBox="0 0 1 1"><rect width="9"/>', 500),
    ],
)
def test_natural_width(svg: str, width: int) -> None:
    assert natural_width(svg) == width


def test_data_uri() -> None:
    assert data_uri("<svg/>") == "data:image/svg+xml;base64,PHN2Zy8+"


def drawn_in_the_dark(drawing: Drawing) -> str:
    """As the light one is drawn, in the other theme; what render() spares itself."""
    with themed("dark"):
        return _draw(drawing)[1]


def without_ids(svg: str) -> str:
    """Markers and clips are numbered by what they look like, colour included."""
    return re.sub(r"\b[mphi](?:mage)?[0-9a-f]{10}\b", "id", svg)


def test_the_dark_one_is_what_drawing_it_again_gives(drawing: Drawing) -> None:
    tree = training_tree((0, 1, 2, 4, 8))
    others = [item for item in training_drawings(tree) if item.name in ("block_values", "cost")]
    heat_map = kernel_heat_map(np.eye(6) + 0.5, 3, (1.5, 0.5, 0.5), name="kernel", symbol="Θ")
    for item in (drawing, heat_map, *others):
        figure = render(item)
        dark = drawn_in_the_dark(item)
        assert without_ids(figure.svg_dark) == without_ids(dark), item.name
        assert figure.svg_dark != figure.svg_light


def test_no_two_colours_of_the_light_theme_are_alike() -> None:
    """Else one could not be told from the other when they are darkened."""
    light = style._DARK
    assert len(light) == len(COLOURS["light"]) + 4
