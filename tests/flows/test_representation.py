"""Which coordinates are chosen, why, and what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from flows.paper_equations import random_problem

from ntkflow.flows import (
    ClassFlow,
    InvariantFlow,
    ResidualFlow,
    SampleFlow,
    choose_representation,
    random_state,
    represent,
    sample_residual,
    solve,
)
from ntkflow.kernels import BlockKernel

PROBLEM = random_problem(0, classes=3, per_class=4, features=5, outputs=3)
FLOW = SampleFlow(PROBLEM.kernel, loss_scale=PROBLEM.loss_scale)
TIMES = jnp.asarray(PROBLEM.times)
WITHOUT = BlockKernel(1.0, 1.0, 0.2, classes=3, per_class=400)


def many(per_class: int, features: int = 8):
    return random_state(jax.random.key(0), classes=3, per_class=per_class, features=features)


@pytest.mark.parametrize(
    ("per_class", "samples", "expected"), [(400, False, "invariant"), (400, True, "class"), (1, True, "sample")]
)
def test_the_cheapest(per_class: int, samples: bool, expected: str) -> None:
    kernel = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=per_class)
    chosen, why = choose_representation(many(per_class), kernel, samples=samples)
    assert chosen == expected
    # 3nCN, 3nC(C + rank), 5nC² with n = 8, C = 3.
    rank = min(8, 3 * (per_class - 1))
    costs = {"sample": 72 * 3 * per_class, "class": 72 * (3 + rank), "invariant": 360}
    assert f"representation {expected}: {costs[expected]:.3g} multiplications" in why
    for other in {"sample", "class", "invariant"} - {expected}:
        assert (f"{other} {costs[other]:.3g}" in why) == (other != "invariant" or not samples)
    assert ("single samples are wanted" in why) == samples


def test_a_kernel_without_an_invariant_gets_the_class_form() -> None:
    chosen, why = choose_representation(many(400), WITHOUT, samples=False)
    assert chosen == "class"
    assert "not invariant: the reduction by the invariant needs mu_single > 0, not 0" in why
    with pytest.raises(ValueError, match="mu_single > 0"):
        represent("invariant", many(400), WITHOUT, loss_scale=1.0)


def test_kinds_and_what_they_carry() -> None:
    for representation, kind in [("sample", SampleFlow), ("class", ClassFlow), ("invariant", InvariantFlow)]:
        for samples in (True, False):
            flow, initial = represent(representation, PROBLEM.state, PROBLEM.kernel, loss_scale=3.0, samples=samples)
            assert type(flow) is kind
            assert float(flow.loss_scale) == 3.0
            if samples or kind is SampleFlow:
                assert flow.sample_state(initial).features.shape == (5, 12)
                assert flow.residual(initial).shape == (3, 12)
            else:
                for function in (flow.sample_state, flow.residual):
                    with pytest.raises(ValueError, match="ask for them with samples=True"):
                        function(initial)


def test_a_representation_is_for_the_flow_of_samples() -> None:
    residual = ResidualFlow(PROBLEM.kernel, loss_scale=1.0)
    start = sample_residual(PROBLEM.state, jnp.eye(3))
    with pytest.raises(
        ValueError, match="the run: representation is a choice for a SampleFlow, not for a ResidualFlow"
    ):
        solve(residual, start, TIMES, representation="class", name="the run")
    flow = SampleFlow(BlockKernel(1.0, 1.0, 0.2, classes=3, per_class=4), loss_scale=1.0)
    with pytest.raises(ValueError, match="mu_single > 0"):
        solve(flow, PROBLEM.state, TIMES, representation="invariant", samples=False)


def test_solve_in_a_representation_says_what_it_chose() -> None:
    run = solve(FLOW, PROBLEM.state, TIMES, representation="auto", samples=False)
    assert isinstance(run.flow, InvariantFlow)
    assert len(run.choices) == 1
    assert run.choices[0].startswith("representation invariant: ")
    assert run.choices[0] in str(run)
    assert str(run).startswith("Trajectory of InvariantFlow, Z = ")
    # A representation that was asked for needs no reason.
    named = solve(FLOW, PROBLEM.state, TIMES, representation="invariant", samples=False)
    assert named.choices == ()
    assert jnp.array_equal(named.residual_norms, run.residual_norms)
