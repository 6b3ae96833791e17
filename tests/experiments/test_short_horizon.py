"""A forecast that ends before the first e-fold: the summary must not speak of what was never compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from experiments.command import SCENARIOS
from experiments.reduced import REDUCED

from ntkflow.experiments import Outcome, experiment
from ntkflow.scenario import load_scenario

HORIZON = 0.5


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    own = (f"forecast.horizon={HORIZON}", "forecast.models=[three_values]", "training.snapshots=[0]")
    scenario = load_scenario(SCENARIOS / "digits.yaml", (*REDUCED["digits"], *own)).scenario
    return experiment(scenario, folder=Path(), text="")


def test_the_forecast_ends_at_the_horizon_and_the_e_fold_is_later(outcome: Outcome) -> None:
    assert float(outcome.tree["theory"]["forecast_time"].max()) <= HORIZON * (1 + 1e-9)
    assert float(outcome.tree["comparison"]["e_fold_time"].max()) > 2 * HORIZON


def test_nothing_is_said_about_the_whole_e_fold(outcome: Outcome) -> None:
    assert not [text for text in outcome.summary.statements if "over the first e-fold" in text]
    (table,) = [item for item in outcome.summary.tables if "errors within the first e-fold" in item.title]
    (row,) = table.rows
    assert all(cell is None for cell in row[2:6]), row
