"""One snapshot's comparison: which times, which rates in which unit, which errors."""

from __future__ import annotations

import numpy as np
import pytest
from training.backpropagation import part_norms
from training.tiny import (
    CLASSES,
    LOOSE,
    STEP,
    STEPS,
    Z,
    descended,
    flow_snapshots,
    flowed,
    problem,
    snapshots,
)

from ntkflow.comparison import Descent, SnapshotComparison, compare_rates, compare_snapshot, measure_rate
from ntkflow.errors import SolverError
from ntkflow.flows import Integration


@pytest.fixture(scope="module")
def compared() -> SnapshotComparison:
    return compare_snapshot(
        snapshots()[1],
        descended(),
        problem(),
        models=("three_values", "full_frozen"),
        horizon=None,
        integration=LOOSE,
        descent=Descent(STEP),
    )


def test_real_norms_are_those_of_the_recorded_residuals(compared: SnapshotComparison) -> None:
    history = descended()
    places = np.searchsorted(history.times, compared.times)
    np.testing.assert_array_equal(history.times[places], compared.times)
    assert compared.times[0] == compared.snapshot.time
    assert compared.times[-1] == pytest.approx(STEP * STEPS)
    expected = np.stack([part_norms(history.residuals[place], CLASSES) for place in places])
    np.testing.assert_allclose(compared.real_norms, expected, rtol=1e-10)


def test_errors_belong_to_their_models(compared: SnapshotComparison) -> None:
    assert list(compared.forecasts) == list(compared.errors) == ["three_values", "full_frozen"]
    for model, made in compared.forecasts.items():
        assert made.model == model
        expected = np.stack([part_norms(item, CLASSES) for item in made.residuals])
        np.testing.assert_allclose(made.norms, expected, rtol=1e-8)
        relative = np.abs(expected - compared.real_norms) / compared.real_norms
        np.testing.assert_allclose(compared.errors[model].norm_errors, relative, rtol=1e-5, atol=1e-9)


def test_the_frozen_kernel_forecasts_better_than_three_values(compared: SnapshotComparison) -> None:
    """Of real digits; the point of the whole comparison."""
    full, three = (compared.errors[model].vector_errors[-1, 2] for model in ("full_frozen", "three_values"))
    assert full < 0.5 * three


def test_e_folds_are_those_of_the_run(compared: SnapshotComparison) -> None:
    history = descended()
    first = snapshots()[1].step
    assert first is not None
    expected = []
    for part in range(3):
        norms = history.norms[first:, part]
        fallen = [k for k in range(len(norms)) if norms[k] <= norms[0] / np.e]
        unfinished = np.inf if norms[-1] < 0.9 * norms[0] else np.nan
        expected.append(fallen[0] * STEP if fallen else unfinished)
    for errors in compared.errors.values():
        np.testing.assert_allclose(errors.e_folds, expected, rtol=1e-9)


def test_a_horizon_ends_the_forecast() -> None:
    found = compare_snapshot(
        snapshots()[0],
        descended(),
        problem(),
        models=("three_values",),
        horizon=12.0,
        integration=LOOSE,
        descent=Descent(STEP),
    )
    assert found.times[-1] <= 12.0 + 1e-9
    assert found.times[-1] > 11.0
    assert list(found.forecasts) == ["three_values"]


def test_measured_rates_are_fits_to_the_runs_own_norms(compared: SnapshotComparison) -> None:
    history = descended()
    for part in range(3):
        expected = measure_rate(history.norm_times, history.norms[:, part], compared.snapshot.time)
        assert compared.rates.measured[part] == expected


def test_predicted_rates_of_descent_are_those_of_its_map() -> None:
    snapshot = snapshots()[1]
    flow = compare_rates(snapshot, descended(), problem(), None)
    steps = compare_rates(snapshot, descended(), problem(), Descent(STEP))
    np.testing.assert_array_equal(flow.block, snapshot.rates_block)
    np.testing.assert_array_equal(flow.whole, snapshot.rates_whole)
    np.testing.assert_allclose(np.exp(-STEP * steps.block), np.abs(1 - STEP * snapshot.rates_block), rtol=1e-12)
    np.testing.assert_allclose(np.exp(-STEP * steps.whole), np.abs(1 - STEP * snapshot.rates_whole), rtol=1e-12)


def test_standard_errors_are_in_the_unit_of_the_rates() -> None:
    snapshot = snapshots()[1]
    block = snapshot.logit_kernel.block
    flow = compare_rates(snapshot, descended(), problem(), None)
    np.testing.assert_allclose(flow.block_errors, block.eigenvalue_standard_errors / Z, rtol=1e-12)
    # Through gradient descent's map: half of what one error to either side gives.
    steps = compare_rates(snapshot, descended(), problem(), Descent(STEP))
    ends = [-np.log(np.abs(1 - STEP * (snapshot.rates_block + sign * flow.block_errors))) / STEP for sign in (1, -1)]
    np.testing.assert_allclose(steps.block_errors, np.abs(ends[0] - ends[1]) / 2, rtol=1e-9)


@pytest.mark.parametrize(("index", "parts"), [(0, (0, 1)), (1, (0, 1, 2))])
def test_the_whole_kernels_rate_is_the_real_one(index: int, parts: tuple[int, ...]) -> None:
    """Within the window's curvature. (The within-class part grows at first and falls then: that is no one rate.)"""
    found = compare_rates(flow_snapshots()[index], flowed(), problem(), None)
    for part in parts:
        measured = found.measured[part]
        assert abs(measured.value - found.whole[part]) <= 3 * measured.curvature + 1e-3 * abs(measured.value)


def test_a_solver_that_gives_up_names_the_forecast() -> None:
    with pytest.raises(SolverError) as caught:
        compare_snapshot(
            snapshots()[1],
            descended(),
            problem(),
            models=("three_values",),
            horizon=None,
            integration=Integration(rtol=1e-6, atol=1e-8, max_steps=5),
            descent=Descent(STEP),
        )
    assert str(caught.value).startswith(
        "forecast by three_values from step 37: tsit5 used all its 5 steps between t = "
    )
