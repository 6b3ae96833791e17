"""The times that a gradient flow keeps."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from training.tiny import TIGHT, network, problem

from ntkflow.training import record_times, train_by_gradient_flow
from ntkflow.training.gradient_flow import PIECE

fractions = st.lists(st.floats(0, 0.999), min_size=1, max_size=4, unique=True)


@given(end=st.floats(1e-3, 1e6), fractions=fractions, records=st.integers(2, 400))
@example(end=1.0, fractions=[0.0], records=2)
@example(end=3.0, fractions=[0.0, 0.5, 0.998], records=400)
@example(end=1.0, fractions=[0.0, 1e-4], records=50)
@example(end=1.0, fractions=[0.999], records=400)
def test_record_times(end: float, fractions: list[float], records: int) -> None:
    snapshots = sorted(end * fraction for fraction in fractions)
    times = record_times(end, snapshots, records)
    assert (times[0], times[-1]) == (0.0, end)
    # The solver gets every gap as a problem of its own.
    assert np.diff(times).min() > 1e-10 * end
    assert len(times) % PIECE == 1
    assert len(times) > records
    assert len(times) <= 1 + len(snapshots) * (records + 1) + records + PIECE
    for snapshot in snapshots:
        assert np.abs(times - snapshot).min() <= 2e-9 * end
        later = times[times > snapshot + 2e-9 * end][0]
        assert later - snapshot <= 1e-4 * (end - snapshot) * 1.05 + 4e-9 * end
    # As good as evenly spaced: at least `records` points were put into the widest gaps.
    assert np.diff(times).max() <= 2.1 * end / records


def test_snapshots_are_among_them_exactly() -> None:
    snapshots = [0.0, 0.1, 1 / 3, 2.7]
    assert set(snapshots) <= set(record_times(5.0, snapshots, 60).tolist())


@pytest.mark.parametrize("snapshots", [[0.0, 1e-10], [0.5, 0.5 + 1e-11]])
def test_snapshots_too_close_to_tell_apart_still_have_a_network_each(snapshots: list[float]) -> None:
    history = train_by_gradient_flow(
        network(), problem(), end_time=1.0, snapshots=snapshots, records=20, integration=TIGHT
    )
    assert [item.time for item in history.checkpoints] == snapshots
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(history.checkpoints[0].network))
