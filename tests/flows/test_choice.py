"""The choice of a solver: its forecasts against what the solvers take, and what it keeps a user from."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from ntkflow.flows import (
    AbstractFlow,
    Integration,
    SampleFlow,
    choose_method,
    expected_work,
    random_state,
    represent,
    solve,
)
from ntkflow.flows.solvers import estimate_spectrum
from ntkflow.kernels import BlockKernel

# The reference problem of the benchmarks, small: κ ∝ n, Z = mn.
KERNEL = BlockKernel(12.0, 9.6, 2.4, classes=4, per_class=6)
FLOW = SampleFlow(KERNEL, loss_scale=72.0)
STATE = random_state(jax.random.key(0), classes=4, per_class=6, features=12)
REDUCED, INITIAL = represent("invariant", STATE, KERNEL, loss_scale=72.0, samples=False)


def times(end: float) -> Array:
    return jnp.linspace(0.0, end, 11)


class Counted(AbstractFlow[Array]):
    """ẏ = −λy as a flow; its right-hand side is counted on the host."""

    rates: Float[Array, " rates"]
    loss_scale: Float[Array, ""]
    calls: list = eqx.field(static=True)

    def vector_field(self, t: Any, state: Any, args: Any) -> Any:
        jax.debug.callback(lambda: self.calls.append(1))
        return -self.rates * state

    def residual(self, state: Any) -> Any:
        return state[:, None]

    def residual_norms(self, state: Any) -> Any:
        return jnp.full(3, jnp.linalg.norm(state))

    def invariants(self, state: Any) -> dict[str, Any]:
        return {}

    def loss(self, state: Any) -> Any:
        return jnp.sum(state**2) / 2


class Rotation(Counted):
    """A damped oscillator: eigenvalues −1 ± iω."""

    def vector_field(self, t: Any, state: Any, args: Any) -> Any:
        x, y = state
        return jnp.stack([-x + self.rates[0] * y, -y - self.rates[0] * x])


@pytest.fixture(scope="module")
def runs() -> dict[tuple[str, float], Any]:
    """tsit5 and rkc2 over a short and a long run of one flow, at one tolerance."""
    return {
        (method, end): solve(REDUCED, INITIAL, times(end), Integration(method, rtol=1e-6, atol=1e-9))
        for method in ("tsit5", "rkc2")
        for end in (20.0, 5000.0)
    }


@pytest.mark.parametrize("end", [20.0, 5000.0])
def test_expected_steps_of_an_explicit_method(runs: dict[tuple[str, float], Any], end: float) -> None:
    """In both regimes: steps for accuracy, and steps at the limit of stability."""
    radius = estimate_spectrum(REDUCED.vector_field, 0.0, INITIAL).radius
    work = expected_work(radius * end, 1e-6, 100)["tsit5"]
    assert work / 4 <= 6 * int(runs["tsit5", end].steps) <= 4 * work


@pytest.mark.parametrize("end", [10.0, 3000.0])
def test_expected_right_hand_sides_of_the_stabilised_method(end: float) -> None:
    flow = Counted(rates=jnp.geomspace(1e-2, 3.0, 20), loss_scale=jnp.asarray(1.0), calls=[])
    start = jnp.ones(20)
    solve(flow, start, times(end), Integration("rkc2", rtol=1e-6, atol=1e-9))
    jax.effects_barrier()
    work = expected_work(3.0 * end, 1e-6, 20)["rkc2"]
    assert work / 4 <= len(flow.calls) <= 4 * work


def test_expected_work_grows_as_it_should() -> None:
    """Stability: proportional to ρT for explicit methods, to its root for the stabilised one, its logarithm for
    implicit ones."""
    one, hundred = (expected_work(x, 1e-6, 60) for x in (1e6, 1e8))
    assert hundred["tsit5"] == pytest.approx(100 * one["tsit5"])
    assert hundred["dopri8"] == pytest.approx(100 * one["dopri8"])
    assert 5 < hundred["rkc2"] / one["rkc2"] < 10
    assert hundred["kvaerno5"] / one["kvaerno5"] == pytest.approx(math.log(1e8) / math.log(1e6), rel=1e-6)
    assert "kvaerno5" not in expected_work(1e6, 1e-6, 301)
    assert all(np.isfinite(list(expected_work(0.0, 1e-6, 60).values())))


@pytest.mark.parametrize(
    ("end", "rtol", "expected"),
    [
        (20.0, 1e-6, {"tsit5"}),
        (20.0, 1e-11, {"dopri8", "tsit5"}),
        (5e3, 1e-6, {"rkc2"}),
        (1e8, 1e-9, {"kvaerno5", "kvaerno5_krylov"}),
    ],
)
def test_what_is_chosen_and_why(end: float, rtol: float, expected: set[str]) -> None:
    method, why = choose_method(REDUCED, INITIAL, times(end), rtol)
    assert method in expected
    radius = estimate_spectrum(REDUCED.vector_field, 0.0, INITIAL).radius
    size = sum(leaf.size for leaf in jax.tree.leaves(INITIAL))
    work = expected_work(radius * end, rtol, size)
    assert method == min(work, key=lambda name: work[name])
    # The sentence has its numbers in it.
    assert why.startswith(f"solver {method}: about {work[method]:.2g} right-hand sides expected against ")
    for other in set(work) - {method}:
        assert f"{other} {work[other]:.2g}" in why
    assert f"{radius:.3g}, times the length of the run is {radius * end:.3g}" in why


def test_a_flow_that_turns_does_not_get_the_stabilised_method() -> None:
    """Stages of RKC2 cover the negative real axis only. The same stiffness with real rates does get it."""
    real = Counted(rates=jnp.asarray([1.0, 50.0]), loss_scale=jnp.asarray(1.0), calls=[])
    turning = Rotation(rates=jnp.asarray([50.0]), loss_scale=jnp.asarray(1.0), calls=[])
    assert choose_method(real, jnp.ones(2), times(100.0), 1e-6)[0] == "rkc2"
    method, why = choose_method(turning, jnp.ones(2), times(100.0), 1e-6)
    assert method != "rkc2"
    assert "rkc2" not in why


def test_the_end_of_training(runs: dict[tuple[str, float], Any]) -> None:
    """At the limit of its stability tsit5 leaves a residual of the class means far above its atol, whatever t is; the
    method that is chosen does not, at the same tolerance. And it takes fewer steps."""
    run = solve(
        FLOW,
        STATE,
        times(5000.0),
        Integration("auto", rtol=1e-6, atol=1e-9),
        representation="auto",
        samples=False,
    )
    assert run.integration.method == "rkc2"
    ringing = runs["tsit5", 5000.0]
    assert type(run.flow) is type(ringing.flow)

    def class_residual(run: Any) -> float:
        return float(jnp.linalg.norm(run.flow.class_residual(run.state_at(-1))))

    assert class_residual(run) < 1e-10
    assert class_residual(ringing) > 1e-8
    assert int(run.steps) < int(ringing.steps) / 3
    # Both choices are told.
    assert [choice.split(":")[0] for choice in run.choices] == ["representation invariant", "solver rkc2"]
    for choice in run.choices:
        assert f"\n  {choice}" in str(run)
    # What was chosen is what is recorded; rtol and atol as they were given.
    assert (run.integration.rtol, run.integration.atol) == (1e-6, 1e-9)
    assert np.array_equal(run.residual_norms, runs["rkc2", 5000.0].residual_norms)
