"""Pictures of kernels show the numbers they were given, in both themes, and stay small."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkflow.report import Curve, Drawing, kernel_heat_map, pair_norm_map, render, structure_over_time, subspace_spectra
from ntkflow.report.style import COLOURS, THEMES, themed

VALUES = (3.0, 1.5, -0.25)


def kernel(classes: int, m: int) -> np.ndarray:
    roots = np.random.default_rng(0).standard_normal((classes * m, 7)) + 0.3
    return roots @ roots.T


def images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def texts(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


@pytest.mark.parametrize("theme", THEMES)
def test_heat_map_shows_kernel_block_and_difference(theme: str) -> None:
    matrix = kernel(3, 2)
    drawing = kernel_heat_map(matrix, 3, VALUES, name="kernel", symbol="Θ", errors=(0.1, 0.2, 0.3))
    with themed(theme):
        figure = drawing.draw()
    measured, block, difference = images(figure)
    assert np.array_equal(measured, matrix)
    for i in range(6):
        for j in range(6):
            expected = VALUES[0] if i == j else VALUES[1] if i // 2 == j // 2 else VALUES[2]
            assert block[i, j] == expected
            assert difference[i, j] == matrix[i, j] - expected
    left, middle, right = figure.axes[:3]
    assert left.get_images()[0].get_clim() == middle.get_images()[0].get_clim() == (matrix.min(), matrix.max())
    low, high = right.get_images()[0].get_clim()
    assert -low == high == np.abs(difference).max()
    assert [line.get_xdata()[0] for line in left.lines[::2]] == [1.5, 3.5]  # Between the classes.
    assert middle.get_xlabel() == "d = 3 ± 0.1\nc = 1.5 ± 0.2\nn = −0.25 ± 0.3"
    assert texts(left) == ["0", "1", "2"]
    assert "± jackknife" in drawing.caption


def test_heat_map_without_errors_and_of_an_exact_block_kernel() -> None:
    block = np.where(np.eye(2, dtype=bool), VALUES[0], VALUES[2])
    drawing = kernel_heat_map(block, 2, VALUES, name="kernel", symbol="Θ")
    figure = drawing.draw()
    assert np.abs(images(figure)[2]).max() == 0
    assert figure.axes[1].get_xlabel() == "d = 3\nc = 1.5\nn = −0.25"
    assert "jackknife" not in drawing.caption


@pytest.mark.parametrize("samples", [200, 1000])
def test_many_samples_stay_small(samples: int) -> None:
    """Noise, the worst there is to compress."""
    noise = np.random.default_rng(0).standard_normal((samples, samples))
    drawing = kernel_heat_map(noise + noise.T, 10, VALUES, name="large", symbol="Θ")
    svg = io.StringIO()
    with themed("dark"):
        drawing.draw().savefig(svg, format="svg")
    assert len(svg.getvalue()) < 400_000
    assert svg.getvalue().count("<image") <= 5  # Three maps and two bars, not a square for every entry.
    assert ("A pixel is a mean" in drawing.caption) == (samples == 1000)


def test_spectra_lines_are_the_predicted_values() -> None:
    spectra = [np.array([50.0]), np.array([8.0, 4.0]), np.array([2.0, 1.0, 0.5, 1e-12])]
    figure = subspace_spectra(spectra, (50.0, 6.0, 0.9), name="spectrum", symbol="Θʰ").draw()
    (axes,) = figure.axes
    dots, blocks = axes.lines[::2], axes.lines[1::2]
    assert [list(line.get_xdata()) for line in dots] == [[1], [2, 3], [4, 5, 6, 7]]
    shown = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in dots])
    assert np.array_equal(shown, [50, 8, 4, 2, 1, 0.5, np.nan], equal_nan=True)  # The last is rounding.
    assert [set(line.get_ydata()) for line in blocks] == [{50.0}, {6.0}, {0.9}]
    assert [line.get_color() for line in dots] == [COLOURS["light"][name] for name in ("blue", "vermillion", "green")]
    assert axes.get_yscale() == "log"


def test_spectra_of_one_sample_a_class() -> None:
    """No within-class space, and a block value that is no positive number: neither is drawn."""
    spectra = [np.array([5.0]), np.array([1.0, 0.5]), np.array([])]
    drawing = subspace_spectra(spectra, (5.0, -0.1, 0.3), name="spectrum", symbol="Θ")
    assert len(drawing.draw().axes[0].lines) == 3
    assert "within class, 0)" in drawing.caption


def test_pair_norms_are_shares_of_the_largest() -> None:
    norms = np.array([[4.0, 1.0], [1.0, 2.0]])
    drawing = pair_norm_map(norms, name="pairs", symbol="Θ", neurons="output")
    (shown,) = images(drawing.draw())
    assert np.array_equal(shown, norms / 4)
    assert f"{20 / 22:.1%}" in drawing.caption


def test_pair_norms_of_dead_features() -> None:
    drawing = pair_norm_map(np.zeros((3, 3)), name="pairs", symbol="Θʰ", neurons="feature")
    assert np.array_equal(images(drawing.draw())[0], np.zeros((3, 3)))
    assert "All are 0;" in drawing.caption


def over_time(times: np.ndarray) -> Drawing:
    values = np.linspace(0.4, 0.8, len(times))
    curves = [Curve("Θ", values, np.full(len(times), 0.05)), Curve("Θʰ", values / 2)]
    return structure_over_time(
        times, curves, curves[:1], name="structure", time_name="time (Z = 80)", definitions="Alignment, (2.63)."
    )


@pytest.mark.parametrize(
    ("times", "marks"),
    [
        ([0.0, 0.5, 2.0, 7.0, 70.0], ["0", "$10^{0}$", "$10^{1}$"]),
        ([0.0, 2.0, 3.0, 5.0], ["0", "2", "5"]),
        ([0.01, 3.0, 50.0], ["$10^{-2}$", "$10^{-1}$", "$10^{0}$", "$10^{1}$"]),
    ],
)
def test_curves_over_time(times: list[float], marks: list[str]) -> None:
    drawing = over_time(np.array(times))
    left, right = drawing.draw().axes
    assert [line.get_label() for line in left.lines] == ["Θ", "Θʰ"]
    assert np.array_equal(left.lines[0].get_ydata(), np.linspace(0.4, 0.8, len(times)))
    band = left.collections[0].get_paths()[0].vertices[:, 1]
    assert abs(band.min() - 0.35) <= 1e-15
    assert abs(band.max() - 0.85) <= 1e-15
    assert len(right.lines) == 1
    assert texts(left) == marks
    assert left.get_ylim()[0] == 0
    assert drawing.caption.startswith("Alignment, (2.63). Bands")


def test_one_moment_after_the_start() -> None:
    assert over_time(np.array([0.0, 3.0])).draw().axes[0].get_xscale() == "linear"


@pytest.mark.parametrize("classes", [3, 4])
def test_a_matrix_that_is_not_sorted_into_equal_classes(classes: int) -> None:
    with pytest.raises(ValueError, match=f"kernel over {classes} classes of equal size is needed"):
        kernel_heat_map(np.zeros((7, 7 if classes == 3 else 8)), classes, VALUES, name="kernel", symbol="Θ")


def test_files_are_well_formed_and_the_same_each_time() -> None:
    drawing = pair_norm_map(np.eye(3), name="pairs", symbol="Θ", neurons="output")
    figure = render(drawing)
    for svg in (figure.svg_light, figure.svg_dark):
        assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert render(drawing) == figure
