"""The residual under a constant block kernel: closed forms against the solver and against dense matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import block_matrix, projectors, relative_difference
from scipy.linalg import expm

from ntkflow.flows import ResidualFlow, solve
from ntkflow.kernels import BlockKernel

KERNEL = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=4)
DENSE = block_matrix(1.9, 1.2, 0.4, 3, 4)
FLOW = ResidualFlow(KERNEL, loss_scale=5.0)
START = np.random.default_rng(0).standard_normal((3, 12))


def test_at_is_the_dense_exponential_and_what_the_solver_finds() -> None:
    times = jnp.asarray([0.0, 0.1, 1.0, 5.0, 20.0])
    trajectory = solve(FLOW, jnp.asarray(START), times)
    for time, state in zip(times, trajectory.states, strict=True):
        exact = FLOW.at(jnp.asarray(START), time)
        assert relative_difference(exact, START @ expm(-float(time) / 5.0 * DENSE)) <= 1e-13
        assert relative_difference(state, exact) <= 1e-8
    parts = np.einsum("ki,eij->ekj", START, projectors(3, 4))
    decays = np.exp(-np.outer(times, [1.9 - 1.2 + 4 * 0.8 + 12 * 0.4, 1.9 - 1.2 + 4 * 0.8, 1.9 - 1.2]) / 5.0)
    expected = decays * [np.linalg.norm(part) for part in parts]
    assert np.abs(np.asarray(trajectory.residual_norms) - expected).max() <= 1e-8 * np.linalg.norm(START)
    assert relative_difference(trajectory.losses, (expected**2).sum(axis=1) / 10.0) <= 1e-8
    assert np.array_equal(trajectory.residuals, trajectory.states)
    assert trajectory.invariants == {}


def test_vector_field() -> None:
    field = FLOW.vector_field(jnp.asarray(0.0), jnp.asarray(START), None)
    assert relative_difference(field, -START @ DENSE / 5.0) <= 1e-14


@pytest.mark.parametrize("share_of_limit", [0.1, 0.9, 1.3])
def test_after_steps_is_literal_descent(share_of_limit: float) -> None:
    """Above the limit too, where factors are below −1 and signs alternate."""
    step = share_of_limit * FLOW.step_limit()
    residual = START
    for steps in range(12):
        assert relative_difference(FLOW.after_steps(jnp.asarray(START), step, steps), residual) <= 1e-12
        residual = residual - step / 5.0 * residual @ DENSE


@pytest.mark.slow
def test_after_many_step_counts_at_once() -> None:
    counts = jnp.asarray([0.0, 1.0, 7.0])
    many = jax.vmap(lambda steps: FLOW.after_steps(jnp.asarray(START), 0.05, steps))(counts)
    for count, residual in zip(counts, many, strict=True):
        expected = START @ np.linalg.matrix_power(np.eye(12) - 0.05 / 5.0 * DENSE, int(count))
        assert relative_difference(residual, expected) <= 1e-13


def test_descent_diverges_beyond_the_limit_and_not_below() -> None:
    limit = FLOW.step_limit()
    assert abs(limit - 2 * 5.0 / np.linalg.eigvalsh(DENSE)[-1]) <= 1e-13
    norms = {}
    for factor in (0.99, 1.01):
        residual = START
        for _ in range(2000):
            residual = residual - factor * limit / 5.0 * residual @ DENSE
        norms[factor] = np.linalg.norm(residual) / np.linalg.norm(START)
    assert norms[0.99] < 1e-12
    assert norms[1.01] > 1e12


def test_small_steps_are_the_flow() -> None:
    """(1 − ηλ/Z)^(t/η) → exp(−λt/Z): the error halves with the step."""
    flow = FLOW.at(jnp.asarray(START), 1.0)
    errors = [relative_difference(FLOW.after_steps(jnp.asarray(START), 1 / k, k), flow) for k in (1000, 2000)]
    assert abs(errors[0] / errors[1] - 2) <= 0.01
