"""Z is the unit of time, and nothing else."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flows.paper_equations import flattened, random_problem
from kernels.dense import relative_difference

from ntkflow.flows import (
    ClassFlow,
    ClassState,
    ResidualFlow,
    SampleFlow,
    describe_loss_scale,
    loss_scale_value,
    sample_residual,
    solve,
)

PROBLEM = random_problem(0, classes=3, per_class=4, features=5, outputs=3)


def test_another_loss_scale_is_another_clock() -> None:
    times = jnp.asarray(np.linspace(0, 0.3, 5))
    slow = solve(SampleFlow(PROBLEM.kernel, loss_scale=36.0), PROBLEM.state, 36.0 * times)
    fast = solve(SampleFlow(PROBLEM.kernel, loss_scale=1.0), PROBLEM.state, times)
    for index in range(5):
        assert relative_difference(flattened(slow.state_at(index)), flattened(fast.state_at(index))) <= 1e-9
    assert relative_difference(36.0 * slow.losses, fast.losses) <= 1e-9


@pytest.mark.parametrize("kind", [SampleFlow, ClassFlow, ResidualFlow])
def test_every_velocity_is_divided_by_it(kind: type) -> None:
    state = {
        SampleFlow: PROBLEM.state,
        ClassFlow: ClassState.from_sample(PROBLEM.state, 3),
        ResidualFlow: sample_residual(PROBLEM.state, jnp.eye(3)),
    }[kind]
    one, seven = (kind(PROBLEM.kernel, loss_scale=z).vector_field(jnp.asarray(0.0), state, None) for z in (1.0, 7.0))
    if kind is ResidualFlow:
        pairs = [(one, seven)]
    else:
        names = ["weight", "bias", *(["features"] if kind is SampleFlow else ["class_means", "within"])]
        pairs = [(getattr(one, name), getattr(seven, name)) for name in names]
    assert all(relative_difference(7.0 * slow, fast) <= 1e-15 for fast, slow in pairs)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("one", 1.0, "Z = 1"),
        ("samples", 80.0, "Z = N = 80"),
        ("samples_times_outputs", 800.0, "Z = NC = 800"),
        (2.5, 2.5, "Z = 2.5"),
        (3, 3.0, "Z = 3"),
    ],
)
def test_names(name: str | float, value: float, text: str) -> None:
    assert loss_scale_value(name, samples=80, outputs=10) == value
    assert describe_loss_scale(name, value) == text
