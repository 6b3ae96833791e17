"""The instantaneous rates of a snapshot are real: −d log‖R_e‖/dt of the gradient flow that passes through it."""

from __future__ import annotations

import numpy as np
import pytest
from networks.plain_mlp import arrays
from training.backpropagation import gradient, part_norms, residual
from training.tiny import CLASSES, FLOW_SNAPSHOTS, Z, dataset, flow_snapshots, flowed


@pytest.mark.parametrize("index", range(len(FLOW_SNAPSHOTS)))
def test_against_a_finite_difference_along_the_gradient(index: int) -> None:
    inputs, targets = np.asarray(dataset().inputs), np.asarray(dataset().target_matrix)
    plain = arrays(flowed().checkpoints[index].network)
    slope = gradient(plain, inputs, targets, "tanh", Z)

    def log_norms(t: float) -> np.ndarray:
        moved = [array - t * step for array, step in zip(plain, slope, strict=True)]
        return np.log(part_norms(residual(moved, inputs, targets, "tanh"), CLASSES))

    h = 1e-4
    expected = -(log_norms(-2 * h) - 8 * log_norms(-h) + 8 * log_norms(h) - log_norms(2 * h)) / (12 * h)
    np.testing.assert_allclose(flow_snapshots()[index].rates_whole, expected, rtol=1e-6)


@pytest.mark.parametrize("index", range(len(FLOW_SNAPSHOTS)))
def test_against_the_run_itself(index: int) -> None:
    """Slope at the snapshot of a parabola through the run's own norms at the first three times after it."""
    history, snapshot = flowed(), flow_snapshots()[index]
    first = int(np.argmin(np.abs(history.times - snapshot.time)))
    t = history.norm_times[first : first + 3] - snapshot.time
    assert t[0] == 0
    for part in range(3):
        fit = np.polyfit(t, np.log(history.norms[first : first + 3, part]), 2)
        assert -fit[1] == pytest.approx(snapshot.rates_whole[part], rel=1e-3)
