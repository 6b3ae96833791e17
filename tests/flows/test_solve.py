"""What `solve` refuses, how it says that it gave up, and that its answers do not depend on the method or the day."""

from __future__ import annotations

import sys

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.paper_equations import flattened, random_problem
from kernels.dense import relative_difference

from ntkflow.errors import SolverError
from ntkflow.flows import Integration, SampleFlow, SampleState, Trajectory, integrate, solve
from ntkflow.kernels import BlockKernel

SHAPE = {"classes": 3, "per_class": 4, "features": 5, "outputs": 3}
PROBLEM = random_problem(0, **SHAPE)
FLOW = SampleFlow(PROBLEM.kernel, loss_scale=PROBLEM.loss_scale)
TIMES = jnp.asarray(PROBLEM.times)
TOO_FEW = Integration(max_steps=60)


def changed(leaf: str, value: jax.Array) -> SampleState:
    return eqx.tree_at(lambda state: getattr(state, leaf), PROBLEM.state, value)


def test_single_precision_is_refused() -> None:
    state = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), PROBLEM.state)
    with pytest.raises(ValueError, match=r"the run: flows are integrated in float64, but the state is float32;.*x64"):
        solve(FLOW, state, TIMES, name="the run")


def test_times_in_single_precision_are_refused() -> None:
    """They would make the solver count time in single precision: at t = 5·10⁴ it could not take a step below 0.004."""
    with pytest.raises(ValueError, match=r"the run: .*float64.*float32"):
        solve(FLOW, PROBLEM.state, TIMES.astype(jnp.float32), TOO_FEW, name="the run")


def test_a_given_first_step_changes_no_result() -> None:
    """However far off: the step after it is chosen by the tolerance, and one that is too long is made again."""
    expected = solve(FLOW, PROBLEM.state, TIMES, Integration(rtol=1e-10, atol=1e-12)).states
    for first in (1e-6, float(TIMES[-1])):
        made = solve(FLOW, PROBLEM.state, TIMES, Integration(rtol=1e-10, atol=1e-12, first_step=jnp.asarray(first)))
        assert relative_difference(made.states.features, expected.features) <= 1e-7
        assert (int(made.rejected_steps) > 0) or first < 1e-5


def test_equations_that_are_not_finite_are_refused() -> None:
    """A NaN in the kernel, the targets or Z would use up all steps, a minute of them, and then ask for more steps."""
    d, c, _ = PROBLEM.kappa
    flows = [
        SampleFlow(BlockKernel(d, c, jnp.nan, classes=3, per_class=4), loss_scale=1.0),
        SampleFlow(PROBLEM.kernel, loss_scale=1.0, targets=jnp.full((3, 3), jnp.nan)),
        SampleFlow(PROBLEM.kernel, loss_scale=jnp.inf),
    ]
    for flow in flows:
        with pytest.raises(SolverError, match=r"the run .*not finite"):
            solve(flow, PROBLEM.state, TIMES, TOO_FEW, name="the run")


@pytest.mark.parametrize("leaf", ["features", "weight", "bias"])
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_state_that_is_not_finite_is_refused(leaf: str, bad: float) -> None:
    value = getattr(PROBLEM.state, leaf)
    with pytest.raises(SolverError, match="the run starts from a state with numbers that are not finite") as error:
        solve(FLOW, changed(leaf, value.at[-1].set(bad)), TIMES, name="the run")
    assert "where the initial state comes from" in str(error.value)


@pytest.mark.parametrize("times", [[0.0, 1.0, 1.0], [1.0, 0.0], [0.0], [], [0.0, np.nan], [0.0, np.inf]])
def test_times_have_to_increase_and_end(times: list[float]) -> None:
    """An infinite end would use up all steps before it failed."""
    with pytest.raises(ValueError, match="the run: times must be at least two increasing numbers"):
        solve(FLOW, PROBLEM.state, jnp.asarray(times, dtype=float), Integration(max_steps=100), name="the run")


def test_too_few_steps() -> None:
    """The message names the method, the place, the time reached, the time wanted and what to do."""
    with pytest.raises(SolverError) as error:
        solve(FLOW, PROBLEM.state, TIMES, TOO_FEW, name="the run")
    text = str(error.value)
    reached = [time for time in PROBLEM.times if f"between t = {time:g} and t = {PROBLEM.times[-1]:g}" in text]
    assert text.startswith("the run: tsit5 used all its 60 steps between t = ")
    assert len(reached) == 1
    # Some way, but not all of it; and that far it really comes.
    assert 0 < reached[0] < PROBLEM.times[-1]
    for word in ("max_steps", "rtol", "atol", "rkc2"):
        assert word in text


def test_every_other_way_to_give_up_has_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffrax has more results than success and too few steps; all must become a SolverError that says which."""
    stopped = integrate(FLOW, PROBLEM.state, TIMES, TOO_FEW)
    failed = eqx.tree_at(lambda solution: solution.result, stopped, diffrax.RESULTS.dt_min_reached)
    # The function `solve` hides the module of its name in the package.
    monkeypatch.setattr(sys.modules["ntkflow.flows.solve"], "integrate", lambda *_: failed)
    with pytest.raises(SolverError, match=r"the run: tsit5 gave up \(The minimum step size was reached"):
        solve(FLOW, PROBLEM.state, TIMES, TOO_FEW, name="the run")


@pytest.mark.parametrize(
    ("integration", "low", "high"),
    [
        (Integration(method="dopri8"), 0.0, 1e-8),
        (Integration(method="kvaerno5", rtol=1e-6, atol=1e-8), 1e-9, 1e-4),  # as loose as it was told to be
    ],
)
def test_methods_agree(integration: Integration, low: float, high: float) -> None:
    one = solve(FLOW, PROBLEM.state, TIMES)
    other = solve(FLOW, PROBLEM.state, TIMES, integration)
    pairs = [(flattened(other.state_at(index)), flattened(one.state_at(index))) for index in range(1, 5)]
    assert low < max(relative_difference(theirs, ours) for theirs, ours in pairs) <= high
    assert int(other.steps) != int(one.steps)


def test_the_same_bits_again() -> None:
    runs = [solve(FLOW, random_problem(0, **SHAPE).state, TIMES) for _ in range(2)]
    assert int(runs[0].steps) == int(runs[1].steps)
    for a, b in zip(jax.tree.leaves(runs[0].states), jax.tree.leaves(runs[1].states), strict=True):
        assert np.array_equal(a, b)


def test_a_trajectory() -> None:
    run = solve(FLOW, PROBLEM.state, TIMES)
    assert isinstance(run, Trajectory)
    assert np.array_equal(run.times, TIMES)
    for saved, given in zip(jax.tree.leaves(run.state_at(0)), jax.tree.leaves(PROBLEM.state), strict=True):
        assert np.array_equal(saved, given)
    assert run.residuals.shape == (5, 3, 12)
    for index in range(5):
        residual = FLOW.residual(run.state_at(index))
        assert relative_difference(run.residuals[index], residual) <= 1e-14
        assert abs(float(jnp.sum(run.residual_norms[index] ** 2) / jnp.sum(residual**2)) - 1) <= 1e-13
        assert abs(float(run.losses[index] / (jnp.sum(residual**2) / (2 * PROBLEM.loss_scale))) - 1) <= 1e-13
    # Gradient flow: the loss only falls.
    assert np.all(np.diff(run.losses) < 0)
    text = str(run)
    assert text.startswith(
        f"Trajectory of SampleFlow, Z = {PROBLEM.loss_scale:g}: 5 times in [0, {PROBLEM.times[-1]:g}]"
    )
    assert f"tsit5, rtol 1e-10, atol 1e-12: {int(run.steps)} steps" in text
