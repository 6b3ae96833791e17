"""One scenario, one result: the same arrays bit by bit, other ones with another seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS
from experiments.conftest import Runs
from experiments.reduced import REDUCED

from ntkflow.experiments import experiment
from ntkflow.scenario import load_scenario, resolved_yaml


def again(name: str, *overrides: str) -> xr.DataTree:
    scenario = load_scenario(SCENARIOS / f"{name}.yaml", (*REDUCED[name], *overrides)).scenario
    return experiment(scenario, folder=Path(), text=resolved_yaml(scenario)).tree


# One of each way to be random; a second run compiles its ensemble again.
@pytest.mark.parametrize(
    "name",
    [
        "digits",
        "residual_eigenspaces",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("block_flow", "noise")),
    ],
)
def test_twice_the_same(name: str, runs: Runs) -> None:
    first, second = runs.tree(name), again(name)
    assert {node.path for node in first.subtree} == {node.path for node in second.subtree}
    for node in first.subtree:
        other = second[node.path].dataset
        assert set(node.dataset.variables) == set(other.variables)
        for variable, values in node.dataset.variables.items():
            np.testing.assert_array_equal(values.values, other[variable].values, str(variable))
            assert values.dims == other[variable].dims
        assert node.attrs == other.attrs


def test_another_seed_another_run(runs: Runs) -> None:
    first, second = runs.tree("digits")["training"], again("digits", "seed=1")["training"]
    assert not np.array_equal(first["residual"].values[0], second["residual"].values[0])
    assert not np.array_equal(first["weight"].values[0], second["weight"].values[0])


def test_a_case_does_not_depend_on_the_others(runs: Runs) -> None:
    """Its random numbers come from the seed and its name."""
    alone = again("block_flow", "cases=[{name: random, initial: {kind: random}}]")
    expected = runs.tree("block_flow")["theory"].sel(case="random")
    np.testing.assert_array_equal(alone["theory"]["residual_norm"].values[0], expected["residual_norm"].values)
