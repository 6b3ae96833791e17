"""The flow of every sample against SciPy's DOP853 on equation (19), and its other answers against plain NumPy."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from flows.paper_equations import (
    averages,
    flattened,
    full_residual,
    integrate_with_scipy,
    invariant_sides,
    random_problem,
    right_hand_side,
)
from kernels.dense import relative_difference

from ntkflow.flows import ClassFlow, ClassState, InvariantSides, SampleFlow, solve

SHAPES = [
    {"classes": 3, "per_class": 4, "features": 5, "outputs": 3},
    {"classes": 4, "per_class": 3, "features": 2, "outputs": 2},  # fewer features than classes, outputs of any number
    {"classes": 4, "per_class": 1, "features": 3, "outputs": 2},  # no within-class space
]
CASES = [(seed, shape) for shape in SHAPES for seed in range(4)]


@pytest.mark.parametrize("seed", range(8))
def test_against_scipy_and_against_the_class_form(seed: int) -> None:
    problem = random_problem(seed, **SHAPES[0])
    targets, times = jnp.asarray(problem.targets), jnp.asarray(problem.times)
    flow = SampleFlow(problem.kernel, loss_scale=problem.loss_scale, targets=targets)
    samples = solve(flow, problem.state, times)
    for index, expected in enumerate(integrate_with_scipy(problem)):
        assert relative_difference(flattened(samples.state_at(index)), flattened(expected)) <= 1e-8

    class_flow = ClassFlow(problem.kernel, loss_scale=problem.loss_scale, targets=targets)
    classes = solve(class_flow, ClassState.from_sample(problem.state, problem.classes), times)
    for index in range(len(times)):
        back = classes.state_at(index).to_sample()
        assert relative_difference(flattened(back), flattened(samples.state_at(index))) <= 1e-9
    scale = np.asarray(samples.residual_norms)[0].max()
    assert np.abs(np.asarray(classes.residual_norms - samples.residual_norms)).max() <= 1e-9 * scale
    assert relative_difference(classes.losses, samples.losses) <= 1e-9
    # The within-class basis of the class form is the samples' own, so even single samples agree.
    assert relative_difference(classes.residuals, samples.residuals) <= 1e-9


@pytest.mark.parametrize(("seed", "shape"), CASES)
def test_one_state(seed: int, shape: dict[str, int]) -> None:
    """The vector field, R, the norms of its parts, the loss and E, at one state."""
    problem = random_problem(seed, **shape)
    flow = SampleFlow(problem.kernel, loss_scale=problem.loss_scale, targets=jnp.asarray(problem.targets))
    field = eqx.filter_jit(flow.vector_field)(jnp.asarray(0.0), problem.state, None)
    assert relative_difference(flattened(field), flattened(right_hand_side(problem, problem.initial))) <= 1e-13
    residual = full_residual(problem, problem.initial)
    assert relative_difference(flow.residual(problem.state), residual) <= 1e-14
    by_class, everywhere = averages(residual, problem.classes)
    norms = [np.linalg.norm(part) for part in (everywhere, by_class - everywhere, residual - by_class)]
    assert relative_difference(flow.residual_norms(problem.state), norms) <= 1e-13
    loss = np.sum(residual**2) / (2 * problem.loss_scale)
    assert abs(float(flow.loss(problem.state)) / loss - 1) <= 1e-13
    sides = invariant_sides(problem, problem.initial)
    invariant = flow.invariants(problem.state)["E"]
    scale = np.linalg.norm(sides[0]) + np.linalg.norm(sides[1])
    assert np.linalg.norm(np.asarray(invariant) - (sides[0] - sides[1])) <= 1e-13 * scale
    ours = InvariantSides.of(problem.state, problem.kernel)
    assert abs(float(ours.scale) / scale - 1) <= 1e-13
    assert abs(float(ours.norm) / np.linalg.norm(sides[0] - sides[1]) - 1) <= 1e-12
    cosine = np.sum(sides[0] * sides[1]) / np.linalg.norm(sides[0]) / np.linalg.norm(sides[1])
    assert abs(float(ours.alignment) - cosine) <= 1e-13


def test_targets_are_one_hot_unless_given() -> None:
    problem = random_problem(0, **SHAPES[0])
    assert np.array_equal(SampleFlow(problem.kernel, loss_scale=1.0).targets, np.eye(3))
    assert np.array_equal(ClassFlow(problem.kernel, loss_scale=1.0).targets, np.eye(3))


@pytest.mark.parametrize("kind", [SampleFlow, ClassFlow])
def test_targets_of_another_number_of_classes_are_refused(kind: type) -> None:
    """Six columns on 12 samples would be taken for six classes of two, whatever the kernel says."""
    with pytest.raises(ValueError, match=r"targets of 6 classes.* kernel of 3"):
        kind(random_problem(0, **SHAPES[0]).kernel, loss_scale=1.0, targets=jnp.ones((3, 6)))
