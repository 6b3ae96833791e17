"""Rates measured in a run: exact on an exponential, honest about everything else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkflow.comparison import measure_rate
from ntkflow.comparison.rates import FEWEST, WINDOW


@given(
    rate=st.floats(-3, 3),
    scale=st.floats(1e-8, 1e8),
    start=st.floats(0, 5),
    spacing=st.floats(1e-4, 0.3),
)
def test_exact_on_an_exponential(rate: float, scale: float, start: float, spacing: float) -> None:
    times = start + spacing * np.arange(40)
    measured = measure_rate(times, scale * np.exp(-rate * times), float(times[0]))
    # Logarithms of up to 30 are rounded at 1e-15 each and divided by a window of a few spacings.
    assert measured.value == pytest.approx(rate, abs=1e-13 / spacing + 1e-12)
    assert measured.curvature <= 1e-12 / spacing + 1e-12


def test_exact_on_times_of_any_spacing() -> None:
    times = np.concatenate([[0.0], np.geomspace(1e-6, 1, 60)])
    assert measure_rate(times, 5 * np.exp(-0.7 * times), 0.0).value == pytest.approx(0.7, rel=1e-9)


def test_it_starts_at_the_snapshot() -> None:
    """Fast before, slow after: nothing of the past is in the rate."""
    times = np.linspace(0, 4, 401)
    norms = np.where(times < 2, np.exp(-5 * times), np.exp(-10 - 0.3 * (times - 2)))
    measured = measure_rate(times, norms, 2.0)
    assert measured.value == pytest.approx(0.3, rel=1e-9)
    assert measured.start == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize("rate", [0.5, -0.5])
def test_the_window_ends_when_the_norm_has_moved(rate: float) -> None:
    times = np.linspace(0, 10, 1001)
    measured = measure_rate(times, np.exp(-rate * times), 0.0)
    assert measured.end == pytest.approx(WINDOW / abs(rate), abs=0.011)


def test_the_window_ends_with_the_run() -> None:
    times = np.linspace(0, 1, 11)
    measured = measure_rate(times, np.exp(-0.01 * times), 0.3)
    assert (measured.start, measured.end) == (pytest.approx(0.3), 1.0)
    assert measured.value == pytest.approx(0.01, rel=1e-9)


def test_the_window_has_at_least_five_points() -> None:
    times = np.arange(20.0)
    measured = measure_rate(times, np.exp(-times), 0.0)
    assert measured.end == times[FEWEST - 1]
    assert measured.value == pytest.approx(1, rel=1e-12)


def test_a_sum_of_two_exponentials() -> None:
    """The rate lies between those at the window's ends, and the curvature says how far these are apart."""
    times = np.linspace(0, 2, 20_001)
    norms = np.exp(-3 * times) + np.exp(-0.2 * times)
    slopes = (3 * np.exp(-3 * times) + 0.2 * np.exp(-0.2 * times)) / norms
    measured = measure_rate(times, norms, 0.0)
    at_end = slopes[np.searchsorted(times, measured.end)]
    assert at_end < measured.value < slopes[0]
    assert measured.curvature > 0
    # For a log that is a parabola in the window, the halves' slopes differ by half the change of slope.
    assert measured.curvature == pytest.approx((slopes[0] - at_end) / 4, rel=0.1)


def test_the_curvature_of_a_parabola_by_hand() -> None:
    """log = t − t²: on evenly spaced points a fitted slope is that of the parabola at the middle, 1 − 2t."""
    times = np.linspace(0, 0.1, 5)
    measured = measure_rate(times, np.exp(times - times**2), 0.0)
    assert measured.value == pytest.approx(-(1 - 2 * 0.05), rel=1e-9)
    assert measured.curvature == pytest.approx((0.075 - 0.025) * 2 / 2, rel=1e-8)


def test_the_curvature_of_a_kink() -> None:
    """Two straight lines that meet in the middle of the window: half the difference of their slopes."""
    times = np.linspace(0, 0.02, 9)
    log = -0.5 * times - 1.0 * np.maximum(times - times[4], 0)
    measured = measure_rate(times, np.exp(log), 0.0)
    assert measured.end == times[-1]
    assert measured.curvature == pytest.approx(0.5, rel=1e-9)
    assert 0.5 < measured.value < 1.5


@pytest.mark.parametrize("points", [0, 1, 4])
def test_too_few_points_left(points: int) -> None:
    times = np.arange(10.0)
    start = 10.0 - points
    measured = measure_rate(times, np.exp(-times), start)
    assert math.isnan(measured.value)
    assert math.isnan(measured.curvature)
    assert measured.start == start


@pytest.mark.parametrize("zeros", [slice(None), slice(2, None), slice(0, 1)])
def test_a_part_that_is_zero_has_no_rate(zeros: slice) -> None:
    """Without a warning, too: the tests' settings make every one an error."""
    times = np.arange(10.0)
    norms = np.exp(-0.01 * times)
    norms[zeros] = 0
    measured = measure_rate(times, norms, 0.0)
    assert math.isnan(measured.value)


def test_zeros_beyond_the_window_do_no_harm() -> None:
    times = np.linspace(0, 10, 101)
    norms = np.where(times < 5, np.exp(-0.5 * times), 0.0)
    assert measure_rate(times, norms, 0.0).value == pytest.approx(0.5, rel=1e-9)


def test_a_start_that_is_rounded_differently() -> None:
    """3·0.1 is not 0.3: the point is found all the same."""
    times = 0.1 * np.arange(50)
    assert measure_rate(times, np.exp(-times), 0.3).start == pytest.approx(0.3, abs=1e-12)
    assert measure_rate(times, np.exp(-times), 0.30000000000000004).start == pytest.approx(0.3, abs=1e-12)
