"""A forecast that ends before the first e-fold: the summary speaks of what was compared, and says so."""

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


def test_what_is_said_is_about_the_forecast(outcome: Outcome) -> None:
    said = [
        text for text in outcome.summary.statements if "over its first e-fold, or to the end of the forecast" in text
    ]
    assert len(said) == 1
    (table,) = [item for item in outcome.summary.tables if "errors within the first e-fold" in item.title]
    (row,) = table.rows
    assert str(row[-1]).startswith(f"> {HORIZON:g}")
    # The largest over all that was compared, and nothing else.
    errors = outcome.tree["comparison"]["norm_error"].to_numpy()[0, 0].max(axis=0)
    assert list(row[2:5]) == pytest.approx(list(100 * errors))
