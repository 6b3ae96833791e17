"""The way from samples to class means and back, and the class form of the flow at one state."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from flows.paper_equations import flattened, invariant_sides, random_problem, right_hand_side
from kernels.dense import relative_difference

from ntkflow.flows import ClassFlow, ClassState, InvariantSides, SampleState, within_basis

SHAPES = [
    {"classes": 3, "per_class": 4, "features": 5, "outputs": 3},
    {"classes": 4, "per_class": 3, "features": 2, "outputs": 2},
    {"classes": 4, "per_class": 1, "features": 3, "outputs": 2},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip(shape: dict[str, int]) -> None:
    problem = random_problem(0, **shape)
    split = ClassState.from_sample(problem.state, problem.classes)
    assert split.within.shape == (shape["features"], shape["classes"] * (shape["per_class"] - 1))
    assert relative_difference(flattened(split.to_sample()), flattened(problem.initial)) <= 1e-14


@pytest.mark.parametrize("shape", SHAPES)
def test_means_and_scatter_are_those_of_the_samples(shape: dict[str, int]) -> None:
    problem = random_problem(1, **shape)
    split = ClassState.from_sample(problem.state, problem.classes)
    h, m = problem.initial[0], problem.per_class
    means = np.stack([h[:, c * m : (c + 1) * m].mean(axis=1) for c in range(problem.classes)], axis=1)
    assert relative_difference(split.class_means, means) <= 1e-14
    away = h - np.repeat(means, m, axis=1)
    assert np.abs(np.asarray(split.within @ split.within.T) - away @ away.T / m).max() <= 1e-13


@pytest.mark.parametrize("per_class", [1, 2, 7])
def test_within_basis(per_class: int) -> None:
    basis = np.asarray(within_basis(per_class))
    assert basis.shape == (per_class - 1, per_class)
    assert np.abs(basis @ basis.T - np.eye(per_class - 1)).max(initial=0) <= 1e-15
    assert np.abs(basis.sum(axis=1)).max(initial=0) <= 1e-15


@pytest.mark.parametrize("shape", SHAPES)
def test_vector_field_is_that_of_the_samples(shape: dict[str, int]) -> None:
    """The split is linear, so the split of (19)'s right-hand side must be (25)'s."""
    problem = random_problem(2, **shape)
    flow = ClassFlow(problem.kernel, loss_scale=problem.loss_scale, targets=jnp.asarray(problem.targets))
    split = ClassState.from_sample(problem.state, problem.classes)
    field = eqx.filter_jit(flow.vector_field)(jnp.asarray(0.0), split, None)
    expected = right_hand_side(problem, problem.initial)
    assert relative_difference(flattened(field.to_sample()), flattened(expected)) <= 1e-13
    sides = invariant_sides(problem, problem.initial)
    ours = InvariantSides.of(split, problem.kernel)
    assert relative_difference(ours.weight_side, sides[0]) <= 1e-13
    assert relative_difference(ours.feature_side, sides[1]) <= 1e-13


def test_uneven_classes_are_refused() -> None:
    state = SampleState(jnp.zeros((2, 7)), jnp.zeros((3, 2)), jnp.zeros(3))
    with pytest.raises(ValueError, match="7 samples cannot be sorted into 3 classes of equal size"):
        ClassState.from_sample(state, 3)
