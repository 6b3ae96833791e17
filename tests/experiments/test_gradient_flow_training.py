"""A comparison whose network is trained by the exact gradient flow: no steps, no map of gradient descent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiments.command import SCENARIOS
from experiments.reduced import REDUCED
from training.tiny import END, FLOW_SNAPSHOTS, flow_snapshots, flowed, network

from ntkflow.experiments import Outcome, experiment
from ntkflow.scenario import load_scenario


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """With the solver's settings of the other tests, which have compiled for them."""
    training = (
        f"training={{method: gradient_flow, end_time: {END}, snapshots: {list(FLOW_SNAPSHOTS)}, records: 200, "
        "solver: {rtol: 1e-10, atol: 1e-12}}"
    )
    own = [item for item in REDUCED["digits"] if not item.startswith("training.")]
    scenario = load_scenario(SCENARIOS / "digits.yaml", (*own, training)).scenario
    return experiment(scenario, folder=Path(), text="")


def test_times_are_those_of_the_flow(outcome: Outcome) -> None:
    training = outcome.tree["training"]
    np.testing.assert_array_equal(training["time"], flowed().times)
    np.testing.assert_array_equal(training["norm_time"], flowed().times)
    assert "step" not in training
    assert training["moment"].values.tolist() == ["t = 0", "t = 1.3", f"t = {END:g}"]
    assert training["moment_time"].values.tolist() == [*FLOW_SNAPSHOTS, END]


def test_it_trains(outcome: Outcome) -> None:
    """From other weights than the tests' own network, whose key is not the scenario's."""
    norms = np.linalg.norm(outcome.tree["training"]["residual_norm"].values, axis=1)
    assert (np.diff(norms) < 0).all()
    assert norms[-1] < 0.6 * norms[0]
    assert not np.array_equal(outcome.tree["training"]["weight"].values[0], network().readout.weight)


def test_predicted_rates_are_those_of_the_flow(outcome: Outcome) -> None:
    """λ/Z itself: the map of gradient descent, which would bend them, is not applied."""
    training, theory = outcome.tree["training"], outcome.tree["theory"]
    for index in range(len(FLOW_SNAPSHOTS)):
        d, c, n = training["logit_block_value"].values[index]
        expected = np.array([d - c + 4 * (c - n) + 12 * n, d - c + 4 * (c - n), d - c]) / 12
        np.testing.assert_allclose(theory["rate_block"].values[index], expected, rtol=1e-10)
    # The rate under the whole kernel is the slope of the run itself.
    for index, moment in enumerate(FLOW_SNAPSHOTS):
        first = int(np.argmin(np.abs(training["time"].values - moment)))
        times = training["time"].values[first : first + 3] - moment
        for part in range(3):
            log = np.log(training["residual_norm"].values[first : first + 3, part])
            slope = np.polyfit(times, log, 2)[1]
            assert -slope == pytest.approx(float(theory["rate_whole"][index, part]), rel=1e-3, abs=1e-3)


def test_the_texts_speak_of_a_flow(outcome: Outcome) -> None:
    text = " ".join(outcome.summary.statements)
    assert f"exact gradient flow to t = {END:g}" in text
    assert "gradient-descent" not in text
    columns = " ".join(column.definition for table in outcome.summary.tables for column in table.columns)
    assert "Gradient descent's own map" not in columns


def test_the_tests_own_run_is_of_the_same_size() -> None:
    """Else the two would not share what is compiled."""
    assert flow_snapshots()[0].state.features.shape == (6, 12)
