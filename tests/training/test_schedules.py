"""Step sizes by epoch."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.training import Constant, Steps, step_times


def at(schedule: Constant | Steps, epoch: int) -> float:
    return float(schedule(jnp.asarray(epoch, jnp.int32)))


def test_constant() -> None:
    assert {at(Constant(0.3), epoch) for epoch in (0, 1, 10**6)} == {0.3}


def test_the_papers_steps() -> None:
    schedule = Steps(jnp.asarray(0.5))
    found = [at(schedule, epoch) for epoch in (0, 119, 120, 239, 240, 359, 360, 399)]
    assert found == [0.5, 0.5, 0.5 / 10, 0.5 / 10, 0.5 / 100, 0.5 / 100, 0.5 / 1000, 0.5 / 1000]


def test_other_steps_and_single_precision() -> None:
    schedule = Steps(jnp.asarray(0.5, jnp.float32), every=2, factor=2.0)
    assert [at(schedule, epoch) for epoch in range(6)] == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert schedule(jnp.asarray(3, jnp.int32)).dtype == jnp.float32
    # So many drops that a power would overflow: as good as 0, and not NaN.
    assert 0 <= at(Steps(jnp.asarray(0.5, jnp.float32), every=1, factor=1e4), 10**6) < 1e-30


def test_time_is_the_sum_of_the_steps() -> None:
    schedule = Steps(jnp.asarray(0.1), every=2, factor=10.0)
    steps = [0.1] * 6 + [0.01] * 6 + [0.001] * 3
    expected = [sum(steps[: 3 * epoch]) for epoch in range(6)]
    assert np.allclose(step_times(schedule, 5, 3), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(("options", "message"), [({"every": 0}, "1 epoch or more"), ({"factor": 0.0}, "positive")])
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Steps(jnp.asarray(0.1), **options)
