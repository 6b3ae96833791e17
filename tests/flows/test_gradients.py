"""Derivatives through a solve, by κ and by the initial state, in every representation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.high_precision import reference
from flows.paper_equations import Arrays, Problem, flattened, random_problem

from ntkflow.flows import (
    ClassFlow,
    Integration,
    InvariantFlow,
    SampleFlow,
    SampleState,
    integrate,
    zero_invariant_state,
)
from ntkflow.kernels import BlockKernel

PLAIN = random_problem(3, classes=3, per_class=3, features=4, outputs=3)
KAPPA = (1.9, 1.2, 0.4)
COLLAPSING = zero_invariant_state(jax.random.key(0), BlockKernel(*KAPPA, classes=3, per_class=3), features=4)
ZERO_INVARIANT = Problem(
    KAPPA,
    3,
    np.eye(3),
    9.0,
    (np.asarray(COLLAPSING.features), np.asarray(COLLAPSING.weight), np.full(3, 1 / 3)),
    end=3.0,
)
PROBLEMS = {"random": PLAIN, "E = 0": ZERO_INVARIANT}
TSIT5 = Integration("tsit5", rtol=1e-9, atol=1e-11, max_steps=200)
RKC2 = Integration("rkc2", rtol=1e-6, atol=1e-9, max_steps=1000)
THROUGH = np.random.default_rng(9).standard_normal((3, 4))


def directions() -> list[tuple[np.ndarray, Arrays]]:
    """Each of κ, and two changes of H, W and b at once, which leave every subspace that the state is in."""
    generator = np.random.default_rng(5)
    none = (np.zeros((4, 9)), np.zeros((3, 4)), np.zeros(3))
    states = [tuple(generator.standard_normal(part.shape) for part in none) for _ in range(2)]
    return [(row, none) for row in np.eye(3)] + [(np.zeros(3), state) for state in states]


def by_differences(problem: Problem, step: float = 1e-4) -> np.ndarray:
    """Central differences of fourth order of what DOP853 gives for the printed equation."""

    def value(kappa: np.ndarray, state: Arrays) -> float:
        moved = tuple(a + b for a, b in zip(problem.initial, state, strict=True))
        h, w, b = reference(replace(problem, kappa=tuple(problem.kappa + kappa), initial=moved))[-1]
        residual = w @ h + b[:, None] - np.repeat(problem.targets, 3, axis=1)
        return np.sum(residual**2) / (2 * problem.loss_scale) + np.sum(THROUGH * w)

    def along(kappa: np.ndarray, state: Arrays) -> float:
        near, far = (
            value(k * kappa, tuple(k * s for s in state)) - value(-k * kappa, tuple(-k * s for s in state))
            for k in (step, 2 * step)
        )
        return (8 * near - far) / (12 * step)

    return np.array([along(*direction) for direction in directions()])


def by_grad(problem: Problem, kind: str, integration: Integration) -> np.ndarray:
    targets, times = jnp.asarray(problem.targets), jnp.asarray(problem.times)

    @jax.jit
    def gradient(kappa: jax.Array, state: SampleState) -> tuple[jax.Array, SampleState]:
        def value(kappa: jax.Array, state: SampleState) -> jax.Array:
            kernel = BlockKernel(kappa[0], kappa[1], kappa[2], classes=3, per_class=3)
            flow: Any
            options: dict[str, Any] = {"loss_scale": problem.loss_scale, "targets": targets}
            if kind == "sample":
                flow, initial = SampleFlow(kernel, **options), state
            else:
                chosen = ClassFlow if kind == "class" else InvariantFlow
                samples = kind == "invariant with samples"
                flow, initial = chosen.starting_at(state, kernel, samples=samples, all_directions=True, **options)
            solution = integrate(flow, initial, times, integration)
            last = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
            return flow.loss(last) + jnp.sum(THROUGH * flow.class_state(last).weight)

        return jax.grad(value, argnums=(0, 1))(kappa, state)

    by_kappa, by_state = gradient(jnp.asarray(problem.kappa), problem.state)
    flat = np.concatenate([np.asarray(by_kappa), flattened(by_state)])
    return np.array([flat @ np.concatenate([k, flattened(s)]) for k, s in directions()])


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return {name: by_differences(problem) for name, problem in PROBLEMS.items()}


@pytest.mark.parametrize(
    ("name", "kind", "integration", "tolerance"),
    [
        pytest.param("random", "sample", TSIT5, 1e-6, marks=pytest.mark.slow),
        pytest.param("random", "class", TSIT5, 1e-6, marks=pytest.mark.slow),
        ("random", "invariant", TSIT5, 1e-6),
        pytest.param("random", "invariant with samples", TSIT5, 1e-6, marks=pytest.mark.slow),
        pytest.param("random", "invariant", RKC2, 1e-3, marks=pytest.mark.slow),
        pytest.param("E = 0", "invariant", TSIT5, 1e-6, marks=pytest.mark.slow),
    ],
)
def test_against_differences(
    name: str, kind: str, integration: Integration, tolerance: float, expected: dict[str, np.ndarray]
) -> None:
    got, wanted = by_grad(PROBLEMS[name], kind, integration), expected[name]
    size = np.abs(wanted).max()
    assert size > 0.01
    assert np.abs(got - wanted).max() <= tolerance * size
