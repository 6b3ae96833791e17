"""Kernels without a coupling of neurons, as operators, and the nearest kernel with three values for the means."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference

from ntkflow.kernels import IsotropicKernel, NeuronDiagonalKernel, with_block_means

CLASSES, PER_CLASS, NEURONS = 3, 4, 5
SAMPLES = CLASSES * PER_CLASS


def symmetric(seed: int, *stack: int) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((*stack, SAMPLES, SAMPLES))
    return factor + np.swapaxes(factor, -1, -2)


def projectors(classes: int = CLASSES) -> list[np.ndarray]:
    """On constant vectors, vectors constant on each class with mean 0, vectors with mean 0 on each class."""
    labels = np.eye(classes)[np.arange(SAMPLES) // (SAMPLES // classes)]
    on_classes = labels @ np.linalg.inv(labels.T @ labels) @ labels.T
    constant = np.full((SAMPLES, SAMPLES), 1 / SAMPLES)
    return [constant, on_classes - constant, np.eye(SAMPLES) - on_classes]


def test_operators_are_what_the_matrices_say() -> None:
    array = np.random.default_rng(1).standard_normal((NEURONS, SAMPLES))
    stack, one = symmetric(2, NEURONS), symmetric(3)
    found = NeuronDiagonalKernel(jnp.asarray(stack)).apply(jnp.asarray(array))
    for p in range(NEURONS):
        assert relative_difference(found[p], stack[p] @ array[p]) <= 1e-14
    assert relative_difference(IsotropicKernel(jnp.asarray(one)).apply(jnp.asarray(array)), array @ one) <= 1e-14


@pytest.mark.parametrize("classes", [1, 3, SAMPLES])
def test_three_values_for_the_means_by_projectors(classes: int) -> None:
    matrix = symmetric(4)
    parts = projectors(classes)
    expected = parts[2] @ matrix @ parts[2]
    for projector in parts[:2]:
        if (dimension := round(np.trace(projector))) > 0:
            expected = expected + np.trace(projector @ matrix) / dimension * projector
    found = with_block_means(jnp.asarray(matrix), classes)
    assert relative_difference(found, expected) <= 1e-13
    assert np.abs(found - found.T).max() <= 1e-13 * np.abs(matrix).max()


def test_it_is_the_nearest_of_its_kind() -> None:
    """Its distance to K is orthogonal to every kernel with three values for the means."""
    matrix, parts = symmetric(5), projectors()
    distance = matrix - np.asarray(with_block_means(jnp.asarray(matrix), CLASSES))
    within = parts[2] @ symmetric(6) @ parts[2]
    for direction in (parts[0], parts[1], within):
        assert abs(np.sum(distance * direction)) <= 1e-11 * np.linalg.norm(matrix) * np.linalg.norm(direction)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"a square matrix, not of shape \(4, 5\)"):
        IsotropicKernel(jnp.ones((4, 5)))
    with pytest.raises(ValueError, match=r"a square matrix, not of shape \(3, 4, 5\)"):
        NeuronDiagonalKernel(jnp.ones((3, 4, 5)))
    with pytest.raises(ValueError, match="cannot be sorted into 3 classes"):
        with_block_means(jnp.eye(10), 3)
