"""Figures of the papers against what is put into them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from report.training_tree import training_tree

from ntkflow.report import chosen_pair, collapse_figure, render
from ntkflow.report.paper3_block_structure import _eigenvector_errors

EPOCHS = (0, 5, 20, 60, 200)
MEMBERS = ("η = 0.3", "η = 0.1", "η = 0.03")


def tree() -> xr.DataTree:
    found = training_tree(EPOCHS, MEMBERS)
    steps = np.repeat([[0.3], [0.1], [0.03]], 4, axis=1)
    found["training"] = xr.DataTree(xr.Dataset({"step_size": (("member", "trained_epoch"), steps)}))
    for group, like, names in (("collapse", "nc1_within_std", ("global_mean_norm", "class_mean_norm", "within_norm")),):
        data = found[group].to_dataset()
        found[group] = xr.DataTree(data.assign({name: 2 * data[like] for name in names}))
    return found


def test_the_vectors_of_table_1_are_eigenvectors() -> None:
    assert max(_eigenvector_errors(np.array([1.0, 0.8, 0.2]), 5, 7)) <= 1e-14
    # Not of another matrix: the check can fail.
    wrong = _eigenvector_errors(np.array([1.0, 0.8, 0.2]), 1 + 1, 1)
    assert wrong[0] > 0.1


@pytest.mark.slow
def test_the_pair_is_of_runs_without_a_wrong_sample() -> None:
    found = tree()
    assert chosen_pair(found).collapsing == 0
    assert chosen_pair(found).other == 2
    losses = found["losses"].to_dataset()
    losses["misclassified"].loc[{"member": MEMBERS[0], "split": "train", "epoch": 200}] = 1.0
    found["losses"] = xr.DataTree(losses)
    assert chosen_pair(found).collapsing == 1
    losses["misclassified"].loc[{"split": "train", "epoch": 200}] = 1.0
    found["losses"] = xr.DataTree(losses)
    assert chosen_pair(found).collapsing is None
    figure = collapse_figure([("one", found)], name="none", more=True)
    assert "no run classifies every training sample right" in figure.caption
    render(figure)


def test_panes_show_the_numbers() -> None:
    found = tree()
    figure = collapse_figure([("one", found), ("two", found)], name="both", more=True).draw()
    axes = figure.axes
    assert [item.get_title()[0] for item in axes] == list("abcdefghij")
    first = found["collapse"]["nc1_within_std"].isel(member=0).to_numpy()
    curve = axes[2].get_lines()[0]
    np.testing.assert_array_equal(curve.get_xdata(), EPOCHS)
    np.testing.assert_array_equal(curve.get_ydata(), first)
    # Over the step size, rising.
    ends = found["collapse"]["nc1_within_std"].isel(epoch=-1).to_numpy()
    over = axes[5].get_lines()[0]
    np.testing.assert_array_equal(over.get_xdata(), [0.03, 0.1, 0.3])
    np.testing.assert_array_equal(over.get_ydata(), ends[::-1])
