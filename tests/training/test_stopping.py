"""When training stops: the rules against loops over their definitions, and the state that comes back."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from training.mini_batches import PER_CLASS, constant, network, recipe, same_bits

from ntkflow.training import (
    LossBelow,
    StalledLoss,
    first_stop,
    run_steps,
    train_until,
)


def by_definition(losses: np.ndarray, delta: float, patience: int) -> int | None:
    """Stops at k where none of the last ``patience`` losses is δ below the one that the count began with."""
    began = 0
    for k in range(1, len(losses)):
        if losses[k] <= losses[began] - delta:
            began = k
        elif k - began == patience:
            return k
    return None


@pytest.mark.parametrize("seed", range(4))
def test_stalled_loss(seed: int) -> None:
    generator = np.random.default_rng(seed)
    losses = np.exp(-np.arange(600) / 40) + 1e-3 * generator.standard_normal(600)
    rule = StalledLoss(least_decrease=1e-2, patience=30)
    expected = by_definition(losses, 1e-2, 30)
    assert expected is not None
    assert first_stop(rule, rule.start(), losses)[1] == expected
    # In pieces, the state carried on.
    state, at, stop = rule.start(), 0, None
    while stop is None:
        state, stop = first_stop(rule, state, losses[at : at + 37])
        at += 37 if stop is None else stop
    assert at == expected


@pytest.mark.parametrize(("fall", "stops"), [(0.5e-7, False), (1e-7 / 90, False), (1e-7 / 110, True), (0.0, True)])
def test_the_papers_numbers(fall: float, stops: bool) -> None:
    """10⁻⁷ within 100 steps; slower than that is stalled, however long it has been falling."""
    rule = StalledLoss()
    assert (rule.least_decrease, rule.patience) == (1e-7, 100)
    losses = 0.25 - fall * np.arange(250)
    assert first_stop(rule, rule.start(), losses)[1] == (100 if stops else None)


def test_single_precision_counts_small_decreases() -> None:
    """Of losses that differ in their last digit the difference is exact in float64."""
    losses = (0.5 - 2.0**-24 * np.arange(300)).astype(np.float32)
    rule = StalledLoss(least_decrease=2.0**-23, patience=5)
    assert first_stop(rule, rule.start(), losses)[1] is None


def test_loss_below() -> None:
    losses = np.array([3.0, 2.0, 0.9, 1.5, 0.1])
    assert first_stop(LossBelow(1.0), LossBelow(1.0).start(), losses)[1] == 2
    assert first_stop(LossBelow(0.1), LossBelow(0.1).start(), losses)[1] is None


@pytest.mark.parametrize("loop", ["compiled", pytest.param("dispatched", marks=pytest.mark.slow)])
def test_the_state_is_that_of_the_loss_that_stopped(loop: str) -> None:
    problem = recipe(PER_CLASS)
    _, record = run_steps(problem, problem.start(network(), jax.random.key(0)), constant(), 30, loop=loop)
    stop = 17
    rule = LossBelow(float((record.losses[stop] + record.losses[:stop].min()) / 2))
    state, _, seen, stopped = train_until(
        problem, problem.start(network(), jax.random.key(0)), constant(), rule, rule.start(), 30, loop=loop
    )
    assert stopped
    assert np.array_equal(seen.losses, record.losses[: stop + 1])
    expected, _ = run_steps(problem, problem.start(network(), jax.random.key(0)), constant(), stop, loop=loop)
    assert same_bits(state, expected)


def test_a_rule_that_does_not_stop() -> None:
    problem, rule = recipe(PER_CLASS), StalledLoss()
    state, memory, record, stopped = train_until(
        problem, problem.start(network(), jax.random.key(0)), constant(), rule, rule.start(), 6
    )
    assert not stopped
    assert len(record.losses) == int(state.step) == 6
    assert float(memory[0]) == record.losses.min()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="least_decrease must be 0 or more"):
        StalledLoss(least_decrease=-1.0)
    with pytest.raises(ValueError, match="patience must be 1 step or more"):
        StalledLoss(patience=0)
