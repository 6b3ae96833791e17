"""Which epochs are recorded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkflow.errors import ScenarioError
from ntkflow.training.observations import listed_epochs, record_epochs


@given(st.integers(1, 3000), st.integers(2, 200), st.sampled_from(["log", "linear"]))
def test_as_many_as_asked_for_from_0_to_the_last(epochs: int, count: int, spacing: str) -> None:
    chosen = record_epochs(epochs, count, spacing)  # pyright: ignore[reportArgumentType]
    assert len(chosen) == min(count, epochs + 1)
    assert chosen[0] == 0
    assert chosen[-1] == epochs
    assert (np.diff(chosen) >= 1).all()


def test_spacing() -> None:
    assert record_epochs(400, 5, "linear") == (0, 100, 200, 300, 400)
    assert record_epochs(1000, 5) == (0, 1, 10, 100, 1000)
    assert record_epochs(400, 2) == (0, 400)
    assert record_epochs(3, 10) == (0, 1, 2, 3)
    assert record_epochs(1, 2) == (0, 1)
    chosen = record_epochs(400, 30)
    assert (np.diff(np.diff(chosen)) >= -1).all()
    late = np.array(chosen[-10:], dtype=float)
    assert np.ptp(late[1:] / late[:-1]) < 0.03  # One factor, but for rounding.


def test_refusals() -> None:
    with pytest.raises(ScenarioError, match="there is no epoch to record"):
        record_epochs(0, 5)
    with pytest.raises(ScenarioError, match="1 recorded epochs are too few"):
        record_epochs(5, 1)
    with pytest.raises(ScenarioError, match="epoch 401 is not between 0 and the last epoch, 400"):
        listed_epochs(400, [3, 401])


def test_listed() -> None:
    assert listed_epochs(400, [120, 3, 3]) == (0, 3, 120, 400)
