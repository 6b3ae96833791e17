"""Errors of a forecast by arrays made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ntkflow.comparison import LIMIT, Forecast, ForecastErrors, e_fold_times, forecast_errors

TIMES = np.array([2.0, 2.5, 3.0, 4.0])


def parts(values: list[list[float]]) -> np.ndarray:
    """(times, 3, 2 outputs, 2 samples) whose parts have these norms, each in an entry of its own."""
    found = np.zeros((len(values), 3, 2, 2))
    for t, row in enumerate(values):
        for part, value in enumerate(row):
            found[t, part].flat[part] = value
    return found


def compare(real: np.ndarray, predicted: np.ndarray, e_folds: list[float]) -> ForecastErrors:
    norms = np.linalg.norm(predicted, axis=(2, 3))
    losses = (norms**2).sum(axis=1) / 2
    made = Forecast("three_values", 2.0, TIMES, predicted.sum(axis=1), norms, losses, {}, {}, 7)
    return forecast_errors(made, real, predicted, np.array(e_folds), reach=2.0)


REAL = [[4.0, 3.0, 0.0], [2.0, 3.0, 0.0], [1.0, 3.0, 0.0], [0.5, 2.0, 0.0]]
PREDICTED = [[4.0, 3.0, 0.0], [2.1, 3.0, 0.0], [1.2, 2.4, 0.1], [0.5, 2.0, 0.1]]


def test_errors_of_norms() -> None:
    found = compare(parts(REAL), parts(PREDICTED), [1.0, np.nan, np.nan])
    expected = [[0, 0, np.nan], [0.05, 0, np.nan], [0.2, 0.2, np.nan], [0, 0, np.nan]]
    np.testing.assert_allclose(found.norm_errors, expected, atol=1e-15)
    share = [[0, 0, 0], [0.1 / 13**0.5, 0, 0], [0.2 / 10**0.5, 0.6 / 10**0.5, 0.1 / 10**0.5], [0, 0, 0.1 / 4.25**0.5]]
    np.testing.assert_allclose(found.share_errors, share, atol=1e-15)


def test_errors_of_the_whole() -> None:
    found = compare(parts(REAL), parts(PREDICTED), [1.0, 1.0, np.nan])
    real, predicted = ([np.sqrt(sum(x * x for x in row)) for row in rows] for rows in (REAL, PREDICTED))
    expected = [abs(p - r) / r for p, r in zip(predicted, real, strict=True)]
    np.testing.assert_allclose(found.total_errors, expected, atol=1e-15)
    assert found.worst_total_within(TIMES, 2.0, 0.5) == pytest.approx(expected[1])
    assert found.worst_total_within(TIMES, 2.0, 2.0) == pytest.approx(max(expected))


def test_the_right_norm_in_the_wrong_direction() -> None:
    predicted = parts(REAL)
    predicted[2, 0] = -predicted[2, 0]
    predicted[3, 1] = predicted[3, 1][::-1]
    found = compare(parts(REAL), predicted, [1.0, 1.0, np.nan])
    np.testing.assert_array_equal(found.norm_errors[:, :2], 0)
    assert found.vector_errors[2, 0] == pytest.approx(2)
    assert found.vector_errors[3, 1] == pytest.approx(2**0.5)
    assert np.count_nonzero(np.nan_to_num(found.vector_errors)) == 2


def test_horizons_are_first_passages_since_the_snapshot() -> None:
    found = compare(parts(REAL), parts(PREDICTED), [1.0, 1.0, 1.0])
    assert LIMIT == 0.1
    # The third part is 0 in the run: nothing can be relative to it.
    np.testing.assert_array_equal(found.horizons, [1.0, 1.0, np.nan])


def test_an_error_of_the_limit_itself_is_within_it() -> None:
    real, predicted = np.array(REAL), np.array(REAL)
    predicted[1, 1] = 3.0 * (1 + LIMIT) - 1e-12
    predicted[3, 0] = 0.5 * (1 + LIMIT) + 1e-9
    found = compare(parts(real.tolist()), parts(predicted.tolist()), [1.0] * 3)
    np.testing.assert_array_equal(found.horizons, [2.0, np.inf, np.nan])


def test_worst_within_a_duration() -> None:
    found = compare(parts(REAL), parts(PREDICTED), [1.0, 1.0, np.nan])
    assert found.worst_within(TIMES, 2.0, 0.5)[:2].tolist() == pytest.approx([0.05, 0])
    assert found.worst_within(TIMES, 2.0, 1.0)[:2].tolist() == pytest.approx([0.2, 0.2])
    # Nothing is known of a duration that the forecast does not reach.
    assert np.isnan(found.worst_within(TIMES, 2.0, 9.0)).all()
    assert np.isnan(found.worst_total_within(TIMES, 2.0, 9.0))


@pytest.mark.parametrize(
    ("e_folds", "slowest", "name"),
    [
        ([1.0, 2.0, np.nan], 1, "class_means"),
        ([3.0, 2.0, 2.5], 0, "global_mean"),
        ([np.nan, np.nan, 0.1], 2, "within_class"),
        ([np.nan, np.nan, np.nan], None, None),
    ],
)
def test_the_slowest_part_that_moves(e_folds: list[float], slowest: int | None, name: str | None) -> None:
    found = compare(parts(REAL), parts(PREDICTED), e_folds)
    assert found.slowest == slowest
    assert found.slowest_name == name


def test_a_part_that_has_not_reached_its_e_fold_is_the_slowest_and_judged_to_the_end() -> None:
    found = compare(parts(REAL), parts(PREDICTED), [np.inf, 1.0, np.inf])
    assert found.slowest_name == "within_class"
    assert found.duration == 2.0
    assert compare(parts(REAL), parts(PREDICTED), [0.5, 1.0, np.nan]).duration == 1.0
    assert np.isnan(compare(parts(REAL), parts(PREDICTED), [np.nan] * 3).duration)


def test_e_fold_times_by_hand() -> None:
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    norms = np.array(
        [
            [9.0, 9.0, 1.0],
            [8.0, 1.0, 1.0],
            [4.0, 1.0, 1.0],
            [8 / np.e - 1e-9, 0.3, 0.9],
            [0.1, 5.0, 0.8],
        ]
    )
    # The third part falls to 0.8 without reaching 1/e: it moves, and has no e-fold yet.
    np.testing.assert_array_equal(e_fold_times(times, norms, 1.0), [2.0, 2.0, np.inf])
    np.testing.assert_array_equal(e_fold_times(times, norms, 0.0), [3.0, 1.0, np.inf])
    np.testing.assert_array_equal(e_fold_times(times, norms, 4.0), [np.nan, np.nan, np.nan])


def test_e_fold_times_of_exponentials() -> None:
    times = np.linspace(0, 20, 2001)
    norms = np.exp(-times[:, None] * [2.0, 0.5, 0.01])
    found = e_fold_times(times, norms, 3.0)
    np.testing.assert_allclose(found[:2], [0.5, 2.0], atol=0.011)
    # exp(−0.01·17) = 0.84: it moves.
    assert np.isinf(found[2])
    assert np.isnan(e_fold_times(times, np.exp(-times[:, None] * [2.0, 0.5, 0.001]), 3.0)[2])


def test_a_part_that_is_zero_does_not_move() -> None:
    """It is no exponential that has fallen to 1/e within no time, and never the slowest part that moves."""
    times = np.array([0.0, 1.0, 2.0])
    norms = np.array([[1.0, 1.0, 0.0], [0.98, 0.98, 0.0], [0.95, 0.95, 0.0]])
    assert np.isnan(e_fold_times(times, norms, 0.0)).all()
