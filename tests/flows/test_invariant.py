"""E stays where it is over whole runs, down to a small residual."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flows.paper_equations import Problem, invariant_sides, random_problem

from ntkflow.flows import ClassFlow, ClassState, InvariantSides, SampleFlow, solve
from ntkflow.kernels import BlockKernel


def drift(problem: Problem, invariants: jnp.ndarray) -> float:
    sides = InvariantSides.of(problem.state, problem.kernel)
    difference = np.asarray(invariants) - np.asarray(sides.invariant)
    return np.linalg.norm(difference, axis=(1, 2)).max() / float(sides.scale)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_drift_over_a_whole_run(seed: int) -> None:
    problem = random_problem(seed, classes=3, per_class=4, features=5, outputs=3)
    targets, times = jnp.asarray(problem.targets), jnp.asarray(problem.times) * 1000
    sample = solve(SampleFlow(problem.kernel, loss_scale=problem.loss_scale, targets=targets), problem.state, times)
    norms = np.asarray(sample.residual_norms)
    assert np.linalg.norm(norms[-1]) <= 1e-4 * np.linalg.norm(norms[0])
    assert drift(problem, sample.invariants["E"]) <= 1e-9
    # The same by the definition in NumPy, at the end.
    last = sample.state_at(-1)
    sides = [
        invariant_sides(problem, tuple(map(np.asarray, (s.features, s.weight, s.bias)))) for s in (problem.state, last)
    ]
    (weight0, feature0), (weight1, feature1) = sides
    scale = np.linalg.norm(weight0) + np.linalg.norm(feature0)
    assert np.linalg.norm((weight1 - feature1) - (weight0 - feature0)) <= 1e-9 * scale
    assert np.linalg.norm(weight1 - weight0) > 0.01 * scale  # it is not that nothing moved

    flow = ClassFlow(problem.kernel, loss_scale=problem.loss_scale, targets=targets)
    classes = solve(flow, ClassState.from_sample(problem.state, 3), times)
    assert drift(problem, classes.invariants["E"]) <= 1e-9


def test_another_kernel_s_invariant_is_not_conserved() -> None:
    """The test above could fail: E with the wrong κ drifts."""
    problem = random_problem(0, classes=3, per_class=4, features=5, outputs=3)
    targets, times = jnp.asarray(problem.targets), jnp.asarray(problem.times) * 1000
    run = solve(SampleFlow(problem.kernel, loss_scale=problem.loss_scale, targets=targets), problem.state, times)
    d, c, n = problem.kappa
    wrong = Problem((1.1 * d, c, n), 4, problem.targets, 1.0, problem.initial)
    sides = [InvariantSides.of(run.state_at(index), wrong.kernel) for index in (0, -1)]
    assert float(jnp.linalg.norm(sides[1].invariant - sides[0].invariant)) > 1e-3 * float(sides[0].scale)


def test_without_scatter_the_value_of_pairs_within_a_class_is_without_effect() -> None:
    """One sample a class: c is a value of no pair, also where d − c = 0 would divide an empty sum."""
    problem = random_problem(0, classes=4, per_class=1, features=3, outputs=2)
    d, _, n = problem.kappa
    sides = [InvariantSides.of(problem.state, BlockKernel(d, c, n, classes=4, per_class=1)) for c in (n, d)]
    assert np.isfinite(np.asarray(sides[1].invariant)).all()
    assert float(jnp.abs(sides[0].invariant - sides[1].invariant).max()) <= 1e-13
