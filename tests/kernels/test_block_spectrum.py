"""A block kernel's values, eigenvalues and products against the matrix written out with Kronecker products."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kernels.dense import SHAPES, block_matrix, projectors, relative_difference

from ntkflow.kernels import EIGENSPACES, BlockKernel, block_values, rates, step_limit

values = st.tuples(*[st.floats(-3, 3).map(lambda x: round(x, 6)) for _ in range(3)])
shapes = st.sampled_from(SHAPES)


@given(values, shapes)
@example((2.0, 1.0, 0.5), (3, 3))
@example((0.5, 1.0, 2.0), (3, 3))  # the order of Definition 3.1 turned round
@example((-1.0, 0.0, 2.0), (2, 1))
@example((1.0, 1.0, 1.0), (5, 2))
def test_against_the_dense_matrix(values: tuple[float, float, float], shape: tuple[int, int]) -> None:
    kernel = BlockKernel(*values, classes=shape[0], per_class=shape[1])
    dense = block_matrix(*values, *shape)
    scale = 1 + np.linalg.norm(dense)

    spectrum = np.sort(np.repeat(np.asarray(kernel.eigenvalues), kernel.multiplicities))
    assert np.abs(spectrum - np.linalg.eigvalsh(dense)).max() <= 1e-13 * scale
    for eigenvalue, projector in zip(kernel.eigenvalues, projectors(*shape), strict=True):  # an empty one is 0
        assert np.abs(dense @ projector - float(eigenvalue) * projector).max() <= 1e-14 * scale
    assert np.abs(np.asarray(kernel.as_matrix()) - dense).max() <= 1e-14 * scale
    assert abs(float(kernel.trace()) - np.trace(dense)) <= 1e-14 * scale
    assert abs(float(kernel.frobenius_norm()) - np.linalg.norm(dense)) <= 1e-14 * scale
    assert kernel.samples == dense.shape[0]


def test_eigenvalues_are_listed_in_the_order_of_the_eigenspaces() -> None:
    kernel = BlockKernel(2.0, 1.0, 0.5, classes=3, per_class=4)
    by_name = {"global_mean": kernel.lambda_global, "class_means": kernel.lambda_class}
    by_name["within_class"] = kernel.lambda_single
    assert [float(by_name[name]) for name in EIGENSPACES] == kernel.eigenvalues.tolist() == [9.0, 3.0, 1.0]
    assert kernel.multiplicities == (1, 2, 9)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 3)])
def test_apply_on_leading_axes(leading: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).standard_normal((*leading, 9))
    kernel = BlockKernel(0.3, 1.7, -0.6, classes=3, per_class=3)
    assert relative_difference(kernel.apply(jnp.asarray(array)), array @ block_matrix(0.3, 1.7, -0.6, 3, 3)) <= 1e-14


@given(st.floats(0.05, 3), st.floats(0.05, 3), st.floats(0.05, 3), st.sampled_from(SHAPES[:3]))
def test_alpha_inverts(single: float, class_means: float, different: float, shape: tuple[int, int]) -> None:
    """I − α11ᵀ is the inverse of I + (nm/λ_class)11ᵀ."""
    classes, m = shape
    same = different + (class_means - single) / m
    kernel = BlockKernel(same + single, same, different, classes=classes, per_class=m)
    ones = np.ones((classes, classes))
    inverse = np.linalg.inv(np.eye(classes) + different * m / class_means * ones)
    assert relative_difference(np.eye(classes) - float(kernel.alpha) * ones, inverse) <= 1e-11


def test_rates_are_eigenvalues_per_unit_of_loss_scale() -> None:
    kernel = BlockKernel(2.0, 1.0, 0.5, classes=3, per_class=4)
    assert rates(kernel, 12.0).tolist() == [0.75, 0.25, 1 / 12]


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ((2.0, 1.0, 0.5), (3, 4)),
        ((2.0, 1.0, -0.4), (3, 4)),  # the class means are fastest
        ((2.0, -0.5, 0.1), (3, 4)),  # the within-class space is fastest
        ((2.0, -5.0, 0.5), (3, 1)),  # one sample a class: there is no within-class space
        ((2.0, 1.0, -5.0), (1, 4)),  # one class: there is no space of class means
    ],
)
def test_step_limit_is_where_descent_turns_round(values: tuple[float, float, float], shape: tuple[int, int]) -> None:
    kernel = BlockKernel(*values, classes=shape[0], per_class=shape[1])
    limit = step_limit(kernel, 3.0)
    dense = block_matrix(*values, *shape)
    start = np.linalg.eigh(dense)[1][:, -1]  # the fastest direction: the others may not decay at all
    for factor, grows in [(0.99, False), (1.01, True)]:
        residual = start
        for _ in range(100):
            residual = residual - factor * limit / 3.0 * dense @ residual
        assert (np.linalg.norm(residual) > 1) == grows


def test_no_step_is_too_large_for_a_kernel_that_moves_nothing() -> None:
    assert step_limit(BlockKernel(0.0, 0.0, 0.0, classes=2, per_class=2), 1.0) == np.inf


def test_nearest_is_the_least_squares_block_kernel() -> None:
    matrix = np.random.default_rng(1).standard_normal((12, 12))
    matrix = matrix + matrix.T
    basis = [block_matrix(*unit, 3, 4).ravel() for unit in np.eye(3)]
    best, *_ = np.linalg.lstsq(np.stack(basis, axis=1), matrix.ravel(), rcond=None)
    nearest = BlockKernel.nearest(jnp.asarray(matrix), 3)
    assert relative_difference([nearest.diagonal, nearest.same_class, nearest.different_class], best) <= 1e-13
    distance = np.linalg.norm(matrix - np.asarray(nearest.as_matrix()))
    for direction in np.concatenate([np.eye(3), -np.eye(3)]):
        assert np.linalg.norm(matrix - block_matrix(*(best + 1e-4 * direction), 3, 4)) > distance


def test_block_values_of_a_stack_are_those_of_its_matrices() -> None:
    stack = np.random.default_rng(4).standard_normal((2, 5, 12, 12))
    labels = np.arange(12) // 4
    same = (labels[:, None] == labels) & ~np.eye(12, dtype=bool)
    values = np.asarray(block_values(jnp.asarray(stack), 3))
    assert values.shape == (3, 2, 5)
    for index in np.ndindex(2, 5):
        matrix = stack[index]
        expected = [np.diagonal(matrix).mean(), matrix[same].mean(), matrix[labels[:, None] != labels].mean()]
        assert np.abs(values[:, *index] - expected).max() <= 1e-14


def test_nearest_with_one_sample_a_class() -> None:
    matrix = np.array([[2.0, 0.3, 0.5], [0.3, 1.0, 0.1], [0.5, 0.1, 3.0]])
    nearest = BlockKernel.nearest(jnp.asarray(matrix), 3)
    off = (0.3 + 0.5 + 0.1) / 3
    assert relative_difference([nearest.diagonal, nearest.same_class, nearest.different_class], [2, off, off]) <= 1e-14


def test_nearest_leaves_a_block_kernel_alone() -> None:
    kernel = BlockKernel(1.1, 0.7, -0.2, classes=3, per_class=3)
    assert relative_difference(BlockKernel.nearest(kernel.as_matrix(), 3).as_matrix(), kernel.as_matrix()) <= 1e-14


@pytest.mark.parametrize(("classes", "per_class"), [(0, 3), (3, 0), (-1, 2)])
def test_sizes_below_one_are_refused(classes: int, per_class: int) -> None:
    with pytest.raises(ValueError, match=rf"classes >= 1 and per_class >= 1, not {classes} and {per_class}"):
        BlockKernel(1.0, 0.5, 0.1, classes=classes, per_class=per_class)
