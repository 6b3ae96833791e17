"""Functions of a block kernel against the same functions of the dense matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels.dense import SHAPES, projectors, relative_difference
from scipy.linalg import expm

from ntkflow.kernels import BlockKernel

positive = st.floats(0.05, 5).map(lambda x: round(x, 6))
eigenvalues = st.tuples(positive, positive, positive)
shapes = st.sampled_from(SHAPES[::2])


def with_eigenvalues(eigenvalues: tuple[float, float, float], shape: tuple[int, int]) -> BlockKernel:
    on_global, on_class, on_single = eigenvalues
    return BlockKernel.from_eigenvalues(
        global_mean=on_global, class_means=on_class, within_class=on_single, classes=shape[0], per_class=shape[1]
    )


def dense(eigenvalues: tuple[float, float, float], shape: tuple[int, int]) -> np.ndarray:
    """The matrix from its eigenvalues, by way of the projectors."""
    return np.einsum("e,eij->ij", np.asarray(eigenvalues), projectors(*shape))


def integrated(matrix: np.ndarray, time: float) -> np.ndarray:
    """∫₀ᵗ exp(−sK) ds as a block of one larger exponential, which never divides."""
    size = len(matrix)
    both = np.block([[-matrix, np.eye(size)], [np.zeros((size, 2 * size))]])
    return expm(time * both)[:size, size:]


@given(eigenvalues, shapes, st.floats(0, 3))
def test_functions_against_dense_ones(
    eigenvalues: tuple[float, float, float], shape: tuple[int, int], time: float
) -> None:
    kernel, matrix = with_eigenvalues(eigenvalues, shape), dense(eigenvalues, shape)
    assert relative_difference(kernel.as_matrix(), matrix) <= 1e-13
    assert relative_difference(kernel.exponential(time).as_matrix(), expm(-time * matrix)) <= 1e-12
    assert relative_difference(kernel.integrated_exponential(time).as_matrix(), integrated(matrix, time)) <= 1e-12
    assert relative_difference(kernel.inverse().as_matrix(), np.linalg.inv(matrix)) <= 1e-12
    root = np.asarray(kernel.square_root().as_matrix())
    assert relative_difference(root @ root, matrix) <= 1e-13
    assert np.linalg.eigvalsh(root).min() > 0


def test_exponential_of_negative_eigenvalues_grows() -> None:
    matrix = dense((1.0, -0.7, -2.0), (3, 3))
    kernel = with_eigenvalues((1.0, -0.7, -2.0), (3, 3))
    assert relative_difference(kernel.exponential(1.5).as_matrix(), expm(-1.5 * matrix)) <= 1e-13
    assert relative_difference(kernel.integrated_exponential(1.5).as_matrix(), integrated(matrix, 1.5)) <= 1e-13


SINGULAR = [(1.0, 1.0, 0.2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)]
"""(d, c, n) whose eigenvalues d − c, then also d − c + m(c − n), then all, are exactly 0."""


@pytest.mark.parametrize("values", SINGULAR)
def test_integrated_exponential_where_eigenvalues_are_zero(values: tuple[float, float, float]) -> None:
    kernel = BlockKernel(*values, classes=3, per_class=3)
    result = np.asarray(kernel.integrated_exponential(0.7).as_matrix())
    assert relative_difference(result, integrated(np.asarray(kernel.as_matrix()), 0.7)) <= 1e-14


@pytest.mark.parametrize("values", SINGULAR)
def test_pseudo_inverse_where_eigenvalues_are_zero(values: tuple[float, float, float]) -> None:
    kernel = BlockKernel(*values, classes=3, per_class=3)
    expected = np.linalg.pinv(np.asarray(kernel.as_matrix()), rcond=1e-12)
    assert relative_difference(kernel.pseudo_inverse().as_matrix(), expected) <= 1e-13


@pytest.mark.parametrize("zero", [0, 1, 2])
def test_pseudo_inverse_of_a_kernel_that_was_given_a_zero_eigenvalue(zero: int) -> None:
    """A zero asked for in from_eigenvalues must still be one afterwards, or its inverse is 1e16."""
    eigenvalues = [2.9, 2.3, 0.7]
    eigenvalues[zero] = 0.0
    expected = np.linalg.pinv(dense(tuple(eigenvalues), (3, 4)), rcond=1e-12)
    kernel = with_eigenvalues(tuple(eigenvalues), (3, 4))
    assert relative_difference(kernel.pseudo_inverse().as_matrix(), expected) <= 1e-12
    assert relative_difference(kernel.pseudo_inverse().pseudo_inverse().as_matrix(), kernel.as_matrix()) <= 1e-12


@pytest.mark.parametrize("tiny", [1e-6, 1e-9, 1e-12])
def test_integrated_exponential_keeps_the_digits_of_tiny_eigenvalues(tiny: float) -> None:
    """(1 − exp(−tλ))/λ as written loses 1e-16/(tλ): 6 digits at 1e-9. The series says t − t²λ/2."""
    kernel = BlockKernel(tiny, 0.0, 0.0, classes=3, per_class=3)
    on_single = float(kernel.integrated_exponential(2.0).lambda_single)
    assert abs(on_single / (2.0 - 2.0 * tiny + 4 * tiny**2 / 3) - 1) <= 1e-14
    assert (
        relative_difference(
            kernel.integrated_exponential(2.0).as_matrix(), integrated(np.asarray(kernel.as_matrix()), 2.0)
        )
        <= 1e-14
    )


@pytest.mark.parametrize("eigenvalue", [0.0, 1e-9, 0.3])
def test_integrated_exponential_has_the_right_derivative(eigenvalue: float) -> None:
    """d/dλ ∫₀ᵗ exp(−sλ) ds = −∫₀ᵗ s exp(−sλ) ds, which is −t²/2 at λ = 0, where a careless `where` gives 0."""

    def on_single(eigenvalue: jax.Array) -> jax.Array:
        kernel = BlockKernel(eigenvalue, 0.0, 0.0, classes=2, per_class=2)
        return kernel.integrated_exponential(2.0).lambda_single

    s = np.linspace(0, 2, 20_001)
    expected = -np.trapezoid(s * np.exp(-s * eigenvalue), s)
    assert abs(float(jax.grad(on_single)(jnp.asarray(eigenvalue))) / expected - 1) <= 1e-6


def test_integrated_exponential_is_the_integral_of_the_exponential() -> None:
    kernel = BlockKernel(2.0, 1.0, 0.5, classes=3, per_class=3)
    slope = jax.jvp(lambda t: kernel.integrated_exponential(t).as_matrix(), (jnp.asarray(0.4),), (jnp.asarray(1.0),))[1]
    assert relative_difference(slope, kernel.exponential(0.4).as_matrix()) <= 1e-13


@given(eigenvalues, shapes)
def test_from_eigenvalues_gives_these_eigenvalues(
    eigenvalues: tuple[float, float, float], shape: tuple[int, int]
) -> None:
    kernel = with_eigenvalues(eigenvalues, shape)
    for actual, expected, multiplicity in zip(kernel.eigenvalues, eigenvalues, kernel.multiplicities, strict=True):
        # Of an eigenspace that is empty nothing is asked.
        assert multiplicity == 0 or abs(float(actual) - expected) <= 1e-14 * max(eigenvalues)


@given(st.tuples(*[st.floats(-3, 3)] * 3), shapes)
def test_values_survive_the_way_through_the_eigenvalues(
    values: tuple[float, float, float], shape: tuple[int, int]
) -> None:
    kernel = BlockKernel(*values, classes=shape[0], per_class=shape[1])
    back = kernel.function(lambda eigenvalues: eigenvalues)
    assert np.abs(np.asarray(back.as_matrix()) - np.asarray(kernel.as_matrix())).max() <= 1e-13


@pytest.mark.parametrize("same_class", [0.1, 2.0, 5.0])
def test_the_value_without_pairs_is_without_effect(same_class: float) -> None:
    """With m = 1 there is no pair within a class: any c, also c ≥ d, must give one and the same operator."""
    kernel = BlockKernel(2.0, same_class, 0.5, classes=3, per_class=1)
    matrix = 1.5 * np.eye(3) + 0.5
    assert relative_difference(kernel.as_matrix(), matrix) <= 1e-14
    assert relative_difference(kernel.exponential(0.3).as_matrix(), expm(-0.3 * matrix)) <= 1e-13
    assert relative_difference(kernel.inverse().as_matrix(), np.linalg.inv(matrix)) <= 1e-13
    root = np.asarray(kernel.square_root().as_matrix())
    assert relative_difference(root @ root, matrix) <= 1e-13


def test_square_root_and_inverse_say_what_they_cannot_do() -> None:
    kernel = BlockKernel(1.0, 2.0, 0.5, classes=2, per_class=2)
    assert np.isnan(np.asarray(kernel.square_root().as_matrix())).any()
    singular = BlockKernel(1.0, 1.0, 0.5, classes=2, per_class=2)
    assert not np.isfinite(np.asarray(singular.inverse().as_matrix())).any()
