"""Ensembles: a member is the run alone, whatever the others do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.mini_batches import (
    PER_CLASS,
    arrays,
    constant,
    convolutional,
    network,
    parameters,
    recipe,
    same_bits,
    start,
)

from ntkflow.errors import DivergenceError
from ntkflow.networks import MLP
from ntkflow.training import (
    Constant,
    member,
    run_ensemble_steps,
    run_steps,
    stack_members,
    train_ensemble_epoch,
    train_epoch,
)

STEP_SIZES = (0.05, 0.02, 0.1)


def test_members_come_out_as_they_went_in() -> None:
    states = [start(seed) for seed in range(3)]
    stacked = stack_members(states)
    for index, state in enumerate(states):
        assert same_bits(member(stacked, index), state)


@pytest.mark.parametrize("loop", ["compiled", pytest.param("dispatched", marks=pytest.mark.slow)])
def test_a_member_is_the_run_alone(loop: str) -> None:
    """Other seeds, other step sizes, other orders of samples: to 1e-12, for sums are taken in another order."""
    stacked = stack_members([start(seed) for seed in range(3)])
    schedules = stack_members([constant(size) for size in STEP_SIZES])
    for _ in range(2):
        stacked, record = train_ensemble_epoch(recipe(), stacked, schedules, loop=loop)
    for index, size in enumerate(STEP_SIZES):
        state = start(index)
        for _ in range(2):
            state, alone = train_epoch(recipe(), state, constant(size), loop=loop)
        for left, right in zip(arrays(member(stacked, index)), arrays(state), strict=True):
            assert np.allclose(left, right, rtol=1e-12, atol=1e-14)
        assert np.allclose(record.losses[:, index], alone.losses, rtol=1e-12)
        assert record.loss[index] == pytest.approx(alone.loss, rel=1e-12)
        assert record.accuracy[index] == pytest.approx(alone.accuracy)
        assert record.gradient_norm[index] == pytest.approx(alone.gradient_norm, rel=1e-12)


def test_with_batch_normalisation() -> None:
    problem, net = convolutional()
    states = [problem.start(net, jax.random.key(seed)) for seed in range(2)]
    stacked, _ = run_ensemble_steps(problem, stack_members(states), stack_members([constant(), constant(0.01)]), 1)
    alone, _ = run_steps(problem, problem.start(net, jax.random.key(1)), constant(0.01), 1)
    found = member(stacked, 1).network
    assert np.allclose(parameters(found), parameters(alone.network), rtol=1e-9, atol=1e-11)
    expected = alone.network.stem.norm.statistics
    assert np.allclose(found.stem.norm.statistics.variance, expected.variance, rtol=1e-9)
    # Two keys, two orders of samples.
    assert not np.allclose(parameters(member(stacked, 0).network), parameters(found))


def test_scales_of_initialisation() -> None:
    """Full batch, in chunks: the same network at three scales."""
    problem = recipe(PER_CLASS)
    nets = [jax.tree.map(lambda a, s=scale: s * a, network()) for scale in (0.5, 1.0, 2.0)]
    stacked = stack_members([problem.start(net, jax.random.key(0)) for net in nets])
    stacked, record = run_ensemble_steps(problem, stacked, stack_members([constant()] * 3), 5)
    for index, net in enumerate(nets):
        state, alone = run_steps(problem, problem.start(net, jax.random.key(0)), constant(), 5)
        assert np.allclose(
            parameters(member(stacked, index).network), parameters(state.network), rtol=1e-12, atol=1e-14
        )
        assert np.allclose(record.losses[:, index], alone.losses, rtol=1e-12)
    assert "3 members, 0 diverged, steps 0 to 5" in str(record)


def test_one_member_diverges_and_the_others_go_on() -> None:
    stacked = stack_members([start(0), start(1)])
    schedules = stack_members([constant(0.05), constant(1e60)])
    for _ in range(3):
        stacked, record = train_ensemble_epoch(recipe(), stacked, schedules)
    assert record.diverged.tolist() == [False, True]
    assert "1 diverged" in str(record)
    state = start(0)
    for _ in range(3):
        state, _ = train_epoch(recipe(), state, constant(0.05))
    assert np.allclose(parameters(member(stacked, 0).network), parameters(state.network), rtol=1e-12, atol=1e-14)


def test_all_members_diverge() -> None:
    stacked = stack_members([start(0), start(1)])
    schedules = stack_members([constant(1e60), constant(1e50)])
    with pytest.raises(DivergenceError, match=r"the loss of each of 2 members .* from 1e\+50 to 1e\+60") as caught:
        run_ensemble_steps(recipe(), stacked, schedules, 9)
    assert caught.value.place == "training.step_size"


def test_refusals() -> None:
    with pytest.raises(ValueError, match="there are no members"):
        stack_members([])
    wider = MLP(jax.random.key(0), inputs=4, outputs=3, width=7, hidden_layers=1, features=6, activation="tanh")
    with pytest.raises(ValueError, match=r"member 1 differs from member 0 at \.layers\[0\]\.weight: float64\[7, 4\]"):
        stack_members([network(), wider])
    stacked = stack_members([start(0), start(1)])
    with pytest.raises(ValueError, match="2 states need 2 stacked schedules"):
        train_ensemble_epoch(recipe(), stacked, Constant(jnp.asarray(0.1)))
    moved, _ = run_steps(recipe(), start(1), constant(), 1)
    with pytest.raises(ValueError, match="at one step"):
        train_ensemble_epoch(recipe(), stack_members([start(0), moved]), stack_members([constant(), constant()]))
