"""Figures come out in two themes, the same bytes each time, and without pyplot."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import pytest

from ntkflow.report import Drawing, render, write_figures
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
