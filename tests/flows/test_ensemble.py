"""Many trajectories: each is what it is alone, whoever else is in its chunk, and a bad one spoils no other."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference

from ntkflow.errors import SolverError, UserError
from ntkflow.flows import (
    ClassFlow,
    Integration,
    InvariantFlow,
    free_memory,
    random_state,
    solve,
    solve_ensemble,
)
from ntkflow.kernels import BlockKernel

TIMES = jnp.linspace(0.0, 2.0, 6)
INTEGRATION = Integration("tsit5", rtol=1e-8, atol=1e-10, max_steps=400)
COUNT = 7


def members(count: int = COUNT) -> tuple[jax.Array, jax.Array]:
    """Keys of initial states, and κ."""
    kappa = jnp.asarray([1.9, 1.2, 0.4]) * (1 + 0.1 * jnp.arange(count, dtype=float)[:, None])
    return jax.random.split(jax.random.key(3), count), kappa


def make(member: Any, kind: Any = InvariantFlow) -> Any:
    key, kappa = member
    kernel = BlockKernel(kappa[0], kappa[1], kappa[2], classes=3, per_class=4)
    state = random_state(key, classes=3, per_class=4, features=5)
    return kind.starting_at(state, kernel, loss_scale=12.0, all_directions=True, samples=False)


def observe(flow: Any, state: Any) -> dict[str, Any]:
    return {"norms": flow.residual_norms(state), "loss": flow.loss(state), "weight": flow.class_state(state).weight}


@pytest.fixture(scope="module")
def in_threes() -> tuple[Any, list[tuple[str, float, float]]]:
    told: list[tuple[str, float, float]] = []
    run = solve_ensemble(
        make, members(), TIMES, INTEGRATION, observe=observe, chunk=3, progress=lambda *call: told.append(call)
    )
    return run, told


def test_each_is_what_it_is_alone(in_threes: tuple[Any, Any]) -> None:
    """κ and initial state are its own; seven members in chunks of three, so that the last chunk is filled up."""
    run, _ = in_threes
    keys, kappa = members()
    for index in range(COUNT):
        flow, initial = make((keys[index], kappa[index]))
        alone = solve(flow, initial, TIMES, INTEGRATION)
        assert int(run.steps[index]) == int(alone.steps)
        assert relative_difference(run.observed["norms"][index], alone.residual_norms) <= 1e-11
        assert relative_difference(run.observed["loss"][index], alone.losses) <= 1e-11
        weight = np.asarray(flow.class_state(alone.state_at(-1)).weight)
        assert relative_difference(run.observed["weight"][index, -1], weight) <= 1e-11
    # They are seven different ones.
    assert len(np.unique(run.observed["loss"][:, -1])) == COUNT


def test_what_comes_back(in_threes: tuple[Any, list[tuple[str, float, float]]]) -> None:
    run, told = in_threes
    assert run.members == COUNT
    assert run.chunk == 3
    assert {name: value.shape for name, value in run.observed.items()} == {
        "norms": (COUNT, 6, 3),
        "loss": (COUNT, 6),
        "weight": (COUNT, 6, 3, 5),
    }
    assert all(isinstance(value, np.ndarray) for value in run.observed.values())
    assert not run.failed.any()
    assert told == [("integrating", done, COUNT) for done in (0, 3, 6, 7)]
    text = str(run)
    assert text.startswith("Ensemble of 7 trajectories, 6 times in [0, 2], 3 at once")
    assert f"{int(np.median(run.steps))} steps (median), at most {run.steps.max()}; 0 failed" in text


def test_bad_members_are_marked_and_spoil_no_other(in_threes: tuple[Any, Any]) -> None:
    """One κ is NaN, and one so large that 400 steps do not reach the end. All are in one chunk, whose size changes
    nothing either. The solver is chosen by the first member that can be."""
    good, _ = in_threes
    keys, kappa = members()
    kappa = kappa.at[0].set(jnp.nan).at[4].multiply(1e4)
    chosen = Integration("auto", rtol=1e-8, atol=1e-10, max_steps=400)
    run = solve_ensemble(make, (keys, kappa), TIMES, chosen, observe=observe)
    assert run.chunk == COUNT
    assert run.integration.method == "tsit5"
    assert run.choices[0].startswith("solver tsit5: ")
    assert run.choices[0] in str(run)
    assert np.flatnonzero(run.failed).tolist() == [0, 4]
    assert "2 failed" in str(run)
    for name, value in run.observed.items():
        for index in (1, 2, 3, 5, 6):
            assert relative_difference(value[index], good.observed[name][index]) <= 1e-11, (name, index)
        assert np.isnan(value[0]).all()
        # From where it failed on: the start was reached, the end was not, and nothing comes after a NaN.
        lost = np.isnan(value[4].reshape(6, -1)).all(axis=1)
        assert not lost[0]
        assert lost[-1]
        assert (np.diff(lost.astype(int)) >= 0).all()
        assert np.isfinite(value[4][~lost]).all()
    # The one that cannot move does not make the others wait.
    assert run.steps[0] < 50
    assert run.steps[4] == 400


def test_all_members_failing() -> None:
    few = Integration("tsit5", max_steps=4)
    with pytest.raises(SolverError, match="the sweep: tsit5 gave up on all 3 members") as error:
        solve_ensemble(make, members(3), TIMES, few, observe=observe, name="the sweep")
    for word in ("max_steps", "rtol", "rkc2"):
        assert word in str(error.value)
    keys, kappa = members(3)
    nothing = (keys, jnp.full_like(kappa, jnp.nan))
    with pytest.raises(SolverError, match="the sweep: none of the 3 members starts from finite numbers"):
        solve_ensemble(make, nothing, TIMES, Integration("auto"), observe=observe, name="the sweep")


def test_memory() -> None:
    """Refused before anything is compiled, with what would fit."""
    run = {"observe": observe, "name": "the sweep"}
    with pytest.raises(
        UserError, match=r"the sweep: 7 members at once need .*iB of memory, but .*can be used"
    ) as error:
        solve_ensemble(make, members(), TIMES, INTEGRATION, chunk=7, memory=40_000, **run)
    fits = int(str(error.value).split("A chunk of ")[1].split()[0])
    assert 1 <= fits < 7
    # What it says fits does: it gets as far as the first chunk.
    with pytest.raises(KeyboardInterrupt):
        solve_ensemble(make, members(), TIMES, INTEGRATION, chunk=fits, memory=40_000, progress=interrupt, **run)
    with pytest.raises(UserError, match=r"the sweep: 7 members need .*Save fewer times".replace(".*S", r"[\s\S]*S")):
        solve_ensemble(make, members(), TIMES, INTEGRATION, memory=10_000, **run)
    assert 2**20 < free_memory() < 2**50


def interrupt(stage: str, done: float, total: float) -> None:
    raise KeyboardInterrupt


def test_bad_input() -> None:
    keys, kappa = members()
    with pytest.raises(ValueError, match="the sweep has no members"):
        solve_ensemble(make, members(0), TIMES, INTEGRATION, observe=observe, name="the sweep")
    with pytest.raises(ValueError, match="the sweep has no members"):
        solve_ensemble(make, (), TIMES, INTEGRATION, observe=observe, name="the sweep")
    # JAX would give the last key again and again.
    with pytest.raises(ValueError, match="the sweep: the members' arrays have different lengths, 5 and 7"):
        solve_ensemble(make, (keys[:5], kappa), TIMES, INTEGRATION, observe=observe, name="the sweep")
    with pytest.raises(ValueError, match="the sweep: a chunk is at least one member, not 0"):
        solve_ensemble(make, members(), TIMES, INTEGRATION, observe=observe, chunk=0, name="the sweep")
    with pytest.raises(ValueError, match="the sweep: times must be at least two increasing numbers"):
        solve_ensemble(make, members(), TIMES[:1], INTEGRATION, observe=observe, name="the sweep")


def test_ctrl_c_comes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        solve_ensemble(make, members(), TIMES, INTEGRATION, observe=observe, progress=interrupt)


@pytest.mark.slow
def test_any_flow() -> None:
    """Not the reduced one only: the class form of the same members, with a kernel that has no invariant for one."""
    keys, kappa = members(2)
    kappa = kappa.at[1].set(jnp.asarray([1.2, 1.2, 0.4]))

    def losses(flow: Any, state: Any) -> Any:
        return flow.loss(state)

    run = solve_ensemble(lambda m: make(m, ClassFlow), (keys, kappa), TIMES, INTEGRATION, observe=losses)
    assert not run.failed.any()
    assert (np.diff(run.observed, axis=1) < 0).all()
