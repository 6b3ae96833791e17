"""From a scenario's words to numbers: saved times, and keys by name."""

from __future__ import annotations

import itertools

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ntkflow.experiments.settings import named_key, time_grid
from ntkflow.scenario import TimeGrid


@given(
    end=st.floats(1e-6, 1e6),
    points=st.integers(2, 300),
    spacing=st.sampled_from(["linear", "log"]),
    first=st.none() | st.floats(1e-8, 0.99),
)
def test_saved_times(end: float, points: int, spacing: str, first: float | None) -> None:
    given_first = None if first is None else first * end
    times = np.asarray(time_grid(TimeGrid(end=end, points=points, spacing=spacing, first=given_first)))
    assert times.shape == (points,)
    assert (times[0], times[-1]) == (0.0, end)
    assert (np.diff(times) > 0).all()
    gaps = np.diff(times)
    if spacing == "linear":
        np.testing.assert_allclose(gaps, end / (points - 1), rtol=1e-6)
    elif points > 3:
        np.testing.assert_allclose(times[2:] / times[1:-1], times[2] / times[1], rtol=1e-6)
        np.testing.assert_allclose(times[1], end / 1e4 if given_first is None else given_first, rtol=1e-9)


def test_keys_differ_by_seed_and_by_name() -> None:
    names = [(), ("network",), ("residual",), *(("initial state", name) for name in ("a", "b", "c", "ab", "ba"))]
    keys = [jax.random.key_data(named_key(seed, *name)).tolist() for seed in (0, 1) for name in names]
    assert all(a != b for a, b in itertools.combinations(keys, 2))
    assert jax.random.key_data(named_key(0, "network")).tolist() == keys[1]
