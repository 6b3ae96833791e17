"""Change of a kernel in norm, direction and eigenvectors, with changes made by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from hypothesis import given
from hypothesis import strategies as st
from kernels.dense import block_matrix, projectors, relative_difference
from scipy.linalg import subspace_angles

from ntkflow.kernels import (
    class_space_overlap,
    eigenspace_rotation,
    kernel_distance,
    kernel_rotation,
    relative_change,
    top_eigenspace,
)

TURN = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
VALUES = np.array([5.0, 4.0, 3.0, 1.0, 0.5, 0.1])


def kernel_on(basis: np.ndarray) -> np.ndarray:
    return basis @ np.diag(VALUES) @ basis.T


def turned(*angles: float) -> np.ndarray:
    """The first vectors of the basis turned by the angles, each towards one of the last."""
    basis = TURN.copy()
    for index, angle in enumerate(angles):
        basis[:, index] = np.cos(angle) * TURN[:, index] + np.sin(angle) * TURN[:, 5 - index]
        basis[:, 5 - index] = np.cos(angle) * TURN[:, 5 - index] - np.sin(angle) * TURN[:, index]
    return basis


def test_norm_and_distance_by_numpy_for_a_stack() -> None:
    initial = kernel_on(TURN)
    stack = np.stack([initial, kernel_on(turned(0.3)), 2 * initial])
    change = [np.linalg.norm(kernel - initial) / np.linalg.norm(initial) for kernel in stack]
    assert relative_difference(relative_change(jnp.asarray(stack), jnp.asarray(initial)), change) <= 1e-14
    distance = kernel_distance(jnp.asarray(stack), jnp.asarray(initial))
    norms = np.linalg.norm(stack, axis=(1, 2)) * np.linalg.norm(initial)
    expected = 1 - np.sum(stack * initial, axis=(1, 2)) / norms
    assert np.abs(np.asarray(distance) - expected).max() <= 1e-14
    assert float(distance[2]) <= 1e-30  # A change of scale is none of direction,
    assert abs(change[2] - 1) <= 1e-14  # but one in norm.


def test_a_small_distance_keeps_its_digits() -> None:
    """K⁰ + εA with A orthogonal to K⁰ and of its norm: the cosine is 1/√(1 + ε²), its distance to 1 ε²/2."""
    initial = np.diag([1.0, 1, 1, 0, 0, 0])
    added = np.diag([0.0, 0, 0, 1, 1, 1])
    distance = float(kernel_distance(jnp.asarray(initial + 1e-9 * added), jnp.asarray(initial)))
    assert abs(distance / 0.5e-18 - 1) <= 1e-6


@given(angles=st.tuples(*[st.floats(0, np.pi / 2)] * 2), seed=st.integers(0, 5))
def test_known_angles(angles: tuple[float, float], seed: int) -> None:
    mixing = np.linalg.qr(np.random.default_rng(seed).standard_normal((2, 2)))[0]
    later = turned(*angles)[:, :2] @ mixing
    rotation = eigenspace_rotation(jnp.asarray(later), jnp.asarray(TURN[:, :2]))
    assert np.abs(np.asarray(rotation.angles) - sorted(angles, reverse=True)).max() <= 1e-14
    assert abs(float(rotation.overlap) - np.mean(np.cos(angles) ** 2)) <= 1e-14
    assert abs(float(rotation.largest_angle) - max(angles)) <= 1e-14
    assert abs(float(rotation.mean_angle) - np.mean(angles)) <= 1e-14


@pytest.mark.parametrize("angles", [(1e-9, 0.2), (0.4, 1.2), (0.0, np.pi / 2)])
def test_rotation_of_a_kernels_leading_space(angles: tuple[float, float]) -> None:
    initial, later = kernel_on(TURN), kernel_on(turned(*angles))
    rotation = kernel_rotation(jnp.asarray(later), jnp.asarray(initial), 2)
    assert np.abs(np.asarray(rotation.angles) - sorted(angles, reverse=True)).max() <= 1e-13
    by_scipy = subspace_angles(np.linalg.eigh(later)[1][:, -2:], np.linalg.eigh(initial)[1][:, -2:])
    assert np.abs(np.asarray(rotation.angles) - by_scipy).max() <= 1e-13


def test_a_stack_of_times() -> None:
    initial = kernel_on(TURN)
    stack = np.stack([kernel_on(turned(0.1 * time)) for time in range(3)])
    rotation = kernel_rotation(jnp.asarray(stack), jnp.asarray(initial), 2)
    assert np.abs(np.asarray(rotation.largest_angle) - [0, 0.1, 0.2]).max() <= 1e-13


def test_leading_space_and_its_gap() -> None:
    space = top_eigenspace(jnp.asarray(kernel_on(TURN)), 3)
    assert relative_difference(space.eigenvalues, VALUES[:3]) <= 1e-13
    assert abs(float(space.gap) - (3.0 - 1.0) / 5.0) <= 1e-13
    assert relative_difference(space.basis @ space.basis.T, TURN[:, :3] @ TURN[:, :3].T) <= 1e-13
    assert abs(float(top_eigenspace(jnp.asarray(kernel_on(TURN)), 6).gap) - 0.1 / 5.0) <= 1e-13
    assert abs(float(top_eigenspace(jnp.eye(6), 2).gap)) <= 1e-15  # Not determined, and it says so.


def test_overlap_with_the_classes() -> None:
    block = jnp.asarray(block_matrix(2.0, 1.0, 0.2, 3, 4))
    assert abs(float(class_space_overlap(block, 3)) - 1) <= 1e-13
    inverse = jnp.asarray(block_matrix(2.0, -0.4, 0.0, 3, 4))  # The within-class eigenvalue leads.
    assert abs(float(class_space_overlap(inverse, 3))) <= 1e-13
    roots = np.random.default_rng(1).standard_normal((2, 12, 5))
    stack = np.einsum("tia,tja->tij", roots, roots)
    on_classes = np.sum(projectors(3, 4)[:2], axis=0)
    expected = []
    for kernel in stack:
        leading = np.linalg.eigh(kernel)[1][:, -3:]
        expected.append(np.trace(leading.T @ on_classes @ leading) / 3)
    assert relative_difference(class_space_overlap(jnp.asarray(stack), 3), expected) <= 1e-12


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="rank must be between 1 and the 6 samples, not 7"):
        top_eigenspace(jnp.eye(6), 7)
    with pytest.raises(ValueError, match="rank must be between 1 and the 6 samples, not 0"):
        kernel_rotation(jnp.eye(6), jnp.eye(6), 0)
    with pytest.raises(ValueError, match=r"the later kernel is nan at \(0, 3\)"):
        relative_change(jnp.eye(6).at[0, 3].set(jnp.nan), jnp.eye(6))
    with pytest.raises(ValueError, match=r"the initial kernel is inf at \(0, 3\)"):
        kernel_distance(jnp.eye(6), jnp.eye(6).at[0, 3].set(jnp.inf))
    with pytest.raises(ValueError, match="not symmetric"):
        top_eigenspace(jnp.eye(6).at[0, 3].set(1.0), 2)
    with pytest.raises(ValueError, match="7 samples cannot be sorted into 3 classes"):
        class_space_overlap(jnp.eye(7), 3)


def test_lowering_for_cuda() -> None:
    stack = jnp.stack([jnp.eye(6)] * 2)
    for measure in (relative_change, kernel_distance):
        lower_for_cuda(measure, stack, jnp.eye(6))
    lower_for_cuda(lambda stack, initial: kernel_rotation(stack, initial, 2), stack, jnp.eye(6))
    lower_for_cuda(class_space_overlap, stack, 3)
