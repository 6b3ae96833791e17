"""At which recorded times a forecast is compared with the run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkflow.comparison import forecast_indices
from ntkflow.comparison.forecast import _ROUND, _filled


@st.composite
def runs(draw: st.DrawFn) -> tuple[np.ndarray, float, float | None, int]:
    """Recorded times, one of them as the start, a horizon, and how many points."""
    count = draw(st.integers(2, 400))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    times = np.append(0.0, np.cumsum(10.0 ** generator.uniform(-3, 0, count - 1)))
    first = draw(st.integers(0, count - 2))
    horizon = draw(st.none() | st.floats(1e-4, 2 * float(times[-1])))
    return times, float(times[first]), horizon, draw(st.sampled_from([10, 32, 160]))


@given(run=runs())
def test_properties(run: tuple[np.ndarray, float, float | None, int]) -> None:
    times, start, horizon, points = run
    found = forecast_indices(times, start, horizon, points)
    chosen = times[found]
    assert (np.diff(found) > 0).all()
    assert chosen[0] == start
    assert len(found) >= 2
    within = [t for t in times if t >= start and (horizon is None or t <= start + horizon * (1 + 1e-12))]
    if len(within) >= 2:
        # To the last time within the horizon, not beyond it, and as many as asked for, or all there are.
        assert chosen[-1] == within[-1]
        assert len(found) == min(points, len(within))
    else:
        # A solver needs two times: the next one after the start, though it is beyond the horizon.
        assert len(found) == 2


@given(run=runs())
def test_dense_at_first_and_everywhere_some(run: tuple[np.ndarray, float, float | None, int]) -> None:
    times, start, _, points = run
    found = forecast_indices(times, start, None, points)
    chosen, end = times[found], times[-1]
    recorded = times[times >= start]
    for share in (1e-4, 1e-3, 1e-2, 0.1, 0.25, 0.5, 0.75):
        wanted = start + share * (end - start)
        nearest = np.abs(recorded - wanted).min()
        # As close as the run allows, or as close as so many points can be expected to be.
        allowed = max(nearest, (end - start) * min(share, 2 / points) * 12)
        assert np.abs(chosen - wanted).min() <= allowed


@pytest.mark.parametrize("start", [0, 37, 500, 839])
def test_one_number_of_points_for_every_snapshot(start: int) -> None:
    """So that one compilation serves them all."""
    times = 0.01 * np.arange(1000)
    assert len(forecast_indices(times, times[start], None)) == 160
    assert len(forecast_indices(times, times[start], 1.6)) == 160


def test_by_hand() -> None:
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert forecast_indices(times, 1.0, None).tolist() == [1, 2, 3, 4]
    assert forecast_indices(times, 1.0, 2.0).tolist() == [1, 2, 3]
    assert forecast_indices(times, 1.0, 0.5).tolist() == [1, 2]
    assert forecast_indices(times, 3.0, None).tolist() == [3, 4]


@pytest.mark.parametrize("count", [2, 3, 15, 16, 17, 160])
def test_times_are_filled_to_a_common_number(count: int) -> None:
    times = np.geomspace(1.0, 50.0, count) - 1.0
    filled = _filled(times)
    assert len(filled) % _ROUND == 0
    assert len(filled) - count < _ROUND
    assert np.all(np.diff(filled) > 0)
    # All that were asked for, the last one last.
    assert np.array_equal(filled[: count - 1], times[:-1])
    assert filled[-1] == times[-1]
