"""Intervals from draws and errors: against the definition, and how often they hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ntkflow.kernels.intervals import draws_interval, student_interval


def held(intervals: np.ndarray, value: float) -> float:
    return float(np.mean((intervals[..., 0] <= value) & (value <= intervals[..., 1])))


@pytest.mark.parametrize("r", [3, 8, 32])
def test_ends_are_where_halls_transform_of_t_is_students_quantile(r: int) -> None:
    draws = np.random.default_rng(r).chisquare(1, (r, 5))
    skewness = stats.skew(draws, axis=0, bias=False)
    a, error = skewness / np.sqrt(r), stats.sem(draws, axis=0)
    for end, sign in zip(np.moveaxis(draws_interval(draws, 0.9), -1, 0), (1, -1), strict=True):
        t = (draws.mean(0) - end) / error
        transformed = t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6
        assert np.allclose(transformed, sign * stats.t.ppf(0.95, r - 1), rtol=1e-9)


def test_symmetric_draws_have_students_interval_and_equal_ones_no_width() -> None:
    draws = np.array([[-1.0, 2.0], [0.0, 2.0], [1.0, 2.0]])
    expected = student_interval(draws.mean(0), stats.sem(draws, axis=0), 2, 0.95)
    assert np.allclose(draws_interval(draws, 0.95), expected, atol=1e-12)
    assert np.array_equal(draws_interval(draws, 0.95)[1], [2.0, 2.0])


def test_the_series_near_symmetry_meets_the_closed_form() -> None:
    """On both sides of the change from one to the other, and linear across it: curvature is of the order 1e-12."""
    shifts = np.array([0.5e-6, 1e-6, 1.5e-6, 2e-6])
    draws = np.stack([np.full(4, -1.0), np.zeros(4), 1 + shifts])
    ends = draws_interval(draws, 0.95)
    steps = np.diff(ends, axis=0)
    assert np.all(np.abs(steps - steps[0]) <= 1e-9)
    assert np.all(np.abs(steps) > 1e-8)


@pytest.mark.parametrize("r", [8, 16, 32])
def test_the_most_skewed_draws_are_held_where_students_interval_fails(r: int) -> None:
    """χ² of one degree of freedom: 20 000 repetitions know the share to 0.2 %."""
    draws = np.random.default_rng(r).chisquare(1, (r, 20_000))
    assert 0.93 <= held(draws_interval(draws, 0.95), 1.0) <= 0.97
    plain = student_interval(draws.mean(0), stats.sem(draws, axis=0), r - 1, 0.95)
    assert held(plain, 1.0) < 0.92


def test_normal_draws_are_held_as_well() -> None:
    draws = np.random.default_rng(0).standard_normal((8, 20_000))
    assert 0.94 <= held(draws_interval(draws, 0.95), 0.0) <= 0.96
    assert 0.78 <= held(draws_interval(draws, 0.8), 0.0) <= 0.82


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 of them, not 2"):
        draws_interval(np.zeros((2, 3)), 0.95)
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            draws_interval(np.zeros((3, 3)), level)
