"""Figures of training runs show what the tree holds, of one run and of several, whole and broken off."""

from __future__ import annotations

import io

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from report.training_tree import training_tree

from ntkflow.report import Drawing, render, themed, training_drawings
from ntkflow.report.style import COLOURS
from ntkflow.report.training_panels import zero_error_epochs

LOG = (0, 1, 2, 4, 8, 15, 30, 60, 120, 240, 400)
EVEN = tuple(range(0, 401, 25))
NAMES = (
    "losses",
    "collapse",
    "collapse_and_invariant",
    "residuals",
    "block_values",
    "alignments",
    "invariant",
    "sharpness",
    "norms",
    "cost",
)


def drawn(tree: xr.DataTree, name: str) -> Figure:
    (drawing,) = (item for item in training_drawings(tree) if item.name == name)
    return drawing.draw()


def curves(figure: Figure, panel: int) -> list[np.ndarray]:
    """What is not a vertical line."""
    lines = [line for line in figure.axes[panel].lines if len(np.atleast_1d(line.get_xdata())) > 2]
    return [np.asarray(line.get_ydata(), dtype=float) for line in lines]


def verticals(figure: Figure, panel: int) -> list[tuple[float, str]]:
    lines = [line for line in figure.axes[panel].lines if len(np.atleast_1d(line.get_xdata())) == 2]
    return [(float(np.asarray(line.get_xdata())[0]), str(line.get_color())) for line in lines]


@pytest.fixture(scope="module")
def one() -> xr.DataTree:
    return training_tree(LOG)


@pytest.fixture(scope="module")
def two() -> xr.DataTree:
    return training_tree(EVEN, ("collapses", "does not"))


def test_all_figures(one: xr.DataTree, two: xr.DataTree) -> None:
    for tree in (one, two):
        assert tuple(drawing.name for drawing in training_drawings(tree)) == NAMES
        for drawing in training_drawings(tree):
            drawing.draw()
            assert drawing.caption.endswith(".")
            assert "  " not in drawing.caption
            assert ("Colours are runs." in drawing.caption) == (tree is two and drawing.name != "cost")


def test_one_is_rendered_in_both_themes(two: xr.DataTree) -> None:
    figure = render(next(item for item in training_drawings(two) if item.name == "sharpness"))
    assert COLOURS["dark"]["vermillion"] in figure.svg_dark
    assert COLOURS["light"]["vermillion"] in figure.svg_light


def test_curves_are_the_arrays(one: xr.DataTree) -> None:
    figure = drawn(one, "losses")
    for split, name in enumerate(("train", "test")):
        assert np.array_equal(curves(figure, 0)[split], one["losses"]["loss"].sel(split=name))
        assert np.array_equal(curves(figure, 2)[split], one["losses"]["accuracy"].sel(split=name))
    assert (figure.axes[0].get_yscale(), figure.axes[2].get_yscale()) == ("log", "linear")
    figure = drawn(one, "residuals")
    assert np.array_equal(np.stack(curves(figure, 0), axis=-1), one["residuals"]["residual_norm"])
    figure = drawn(one, "block_values")
    assert np.array_equal(np.stack(curves(figure, 3), axis=-1), one["block_values"]["feature_block_value"])
    band = figure.axes[3].collections[0].get_paths()[0].vertices[:, 1]
    value = one["block_values"]["feature_block_value"].to_numpy()[:, 0]
    error = one["block_values"]["feature_block_standard_error"].to_numpy()[:, 0]
    assert band.max() == (value + error).max()
    assert band.min() == (value - error).min()
    figure = drawn(one, "collapse_and_invariant")
    assert np.array_equal(curves(figure, 0)[0], one["invariant"]["norm"].sel(sample="kernels"))
    assert np.array_equal(curves(figure, 2)[0], one["collapse"]["nc1_within_std"])


def test_several_runs_have_a_colour_each(two: xr.DataTree) -> None:
    with themed("light"):
        figure = drawn(two, "collapse_and_invariant")
    lines = [line for line in figure.axes[3].lines if len(np.atleast_1d(line.get_xdata())) > 2]
    assert [line.get_color() for line in lines] == [COLOURS["light"][ink] for ink in ("blue", "vermillion")]
    for member, line in enumerate(lines):
        assert np.array_equal(np.asarray(line.get_ydata()), two["collapse"]["nc2_etf_distance"][member])
    legend = figure.axes[5].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["collapses", "does not"]
    # Quantities have styles instead: train solid, test dashed, in either colour.
    lines = [line for line in drawn(two, "losses").axes[0].lines if len(np.atleast_1d(line.get_xdata())) > 2]
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--", "--"]


def test_zero_training_error_is_marked(one: xr.DataTree, two: xr.DataTree) -> None:
    assert zero_error_epochs(one).tolist() == [30]
    assert zero_error_epochs(two).tolist() == [50, 100]
    with themed("light"):
        assert verticals(drawn(one, "alignments"), 1) == [(30.0, COLOURS["light"]["grey"])]
        marked = verticals(drawn(two, "alignments"), 1)
    assert marked == [(50.0, COLOURS["light"]["blue"]), (100.0, COLOURS["light"]["vermillion"])]
    never = one.copy(deep=True)
    never["losses"]["misclassified"][:] = 1
    assert np.isnan(zero_error_epochs(never)).all()
    assert not verticals(drawn(never, "alignments"), 1)


def test_a_run_that_was_broken_off_and_one_that_failed(one: xr.DataTree, two: xr.DataTree) -> None:
    """NaN from some moment on, or everywhere; zeros where the axis is logarithmic."""
    for tree, start in ((one, 6), (two, 0)):
        broken = tree.copy(deep=True)
        for group in broken.children.values():
            for name, variable in group.data_vars.items():
                index = {dim: slice(start, None) if dim == "epoch" else slice(None) for dim in variable.dims}
                group[name][index] = np.nan
        for drawing in training_drawings(broken):
            drawing.draw().savefig(io.BytesIO(), dpi=20) if drawing.name in ("losses", "alignments") else drawing.draw()
    zero = one.copy(deep=True)
    zero["collapse"]["nc1_trace_ratio"][5:] = 0
    assert np.isnan(curves(drawn(zero, "collapse"), 0)[1][5:]).all()


def test_groups_that_are_not_there(one: xr.DataTree) -> None:
    few = one.copy(deep=True)
    for name in ("sharpness", "invariant", "losses", "cost"):
        del few[name]
    left = ["collapse", "residuals", "block_values", "alignments", "norms"]
    assert [item.name for item in training_drawings(few)] == left
    assert not verticals(drawn(few, "norms"), 0)


def test_epoch_axes(one: xr.DataTree, two: xr.DataTree) -> None:
    axes = drawn(one, "norms").axes[0]
    assert axes.get_xscale() == "symlog"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "10", "100"]
    assert drawn(two, "norms").axes[0].get_xscale() == "linear"
    assert drawn(training_tree((0, 1)), "norms").axes[0].get_xscale() == "linear"


def test_cost_stands_beside_training(one: xr.DataTree, two: xr.DataTree) -> None:
    for tree in (one, two):
        (axes,) = drawn(tree, "cost").axes
        names = [text.get_text() for text in axes.get_yticklabels()]
        widths = dict(zip(names, (bar.get_width() for bar in axes.patches), strict=True))
        seconds = tree["cost"]["seconds"].sel(work="kernels")
        runs = seconds.sizes.get("member", 1)
        assert widths["kernels"] == pytest.approx(float(seconds.sum()) / runs, rel=1e-12)
        assert widths["training"] == pytest.approx(float(tree["cost"]["training_seconds"].sum()) / runs, rel=1e-12)
    without = one.copy(deep=True)
    without["cost"] = without["cost"].to_dataset().drop_vars("training_seconds")
    assert len(drawn(without, "cost").axes[0].patches) == 6


def test_more_runs_than_colours() -> None:
    tree = training_tree((0, 1, 2, 3), tuple(f"seed {index}" for index in range(14)))
    figure = drawn(tree, "norms")
    assert not figure.legends
    assert len(curves(figure, 1)) == 2 * 14
    few = training_tree((0, 1, 2, 3), ("a", "b", "c"))
    assert [text.get_text() for text in drawn(few, "norms").legends[0].get_texts()] == ["a", "b", "c"]


def test_drawings_have_titles(one: xr.DataTree) -> None:
    assert all(isinstance(item, Drawing) and item.title for item in training_drawings(one))
