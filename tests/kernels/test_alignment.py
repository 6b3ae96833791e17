"""Alignments with the labels and between kernels, against loops over pairs and dense centring."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from hypothesis import given
from hypothesis import strategies as st
from kernels.dense import block_matrix, relative_difference
from scipy import stats

from ntkflow.kernels import (
    AlignmentEstimate,
    centred_kernel,
    centred_kernel_alignment,
    centred_label_alignment,
    estimate_label_alignment,
    kernel_alignment,
    label_alignment,
    own_class_alignment,
)


def random_kernel(samples: int, seed: int = 0) -> np.ndarray:
    roots = np.random.default_rng(seed).standard_normal((samples, 7)) + 0.5
    return roots @ roots.T


def one_hot(classes: int, m: int) -> np.ndarray:
    return np.kron(np.eye(classes), np.ones(m))


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sum(first * second) / np.sqrt(np.sum(first**2) * np.sum(second**2)))


@pytest.mark.parametrize(("classes", "m"), [(3, 4), (2, 5), (4, 1)])
def test_alignment_by_loops_over_pairs(classes: int, m: int) -> None:
    kernel = np.random.default_rng(0).standard_normal((classes * m, classes * m))
    kernel = kernel @ kernel.T
    product = squares = same = 0.0
    for i in range(classes * m):
        for j in range(classes * m):
            label = float(i // m == j // m)
            product += kernel[i, j] * label
            squares += kernel[i, j] ** 2
            same += label**2
    expected = product / np.sqrt(squares * same)
    assert abs(float(label_alignment(jnp.asarray(kernel), classes)) - expected) <= 1e-14


def test_alignment_of_the_labels_with_themselves() -> None:
    labels = jnp.asarray(block_matrix(3.0, 3.0, 0.0, 3, 4))
    assert abs(float(label_alignment(labels, 3)) - 1) <= 1e-15
    assert abs(float(centred_label_alignment(labels, 3)) - 1) <= 1e-15


def test_kernels_blind_to_the_labels() -> None:
    """(2.63) gives 1/√C to the constant kernel and 1/√m to the identity; centred, a constant changes nothing."""
    assert abs(float(label_alignment(jnp.ones((12, 12)), 3)) - 1 / np.sqrt(3)) <= 1e-15
    assert abs(float(label_alignment(jnp.eye(12), 3)) - 1 / np.sqrt(4)) <= 1e-15
    kernel = jnp.asarray(random_kernel(12))
    assert relative_difference(centred_label_alignment(kernel + 40, 3), centred_label_alignment(kernel, 3)) <= 1e-12
    identity = float(centred_label_alignment(jnp.eye(12), 3))  # Two directions of eleven.
    assert abs(identity - np.sqrt(2 / 11)) <= 1e-14


def test_centred_alignments_by_dense_projection() -> None:
    first, second = random_kernel(12), random_kernel(12, 1)
    centring = np.eye(12) - 1 / 12
    labels = one_hot(3, 4).T @ one_hot(3, 4)
    assert relative_difference(centred_kernel(jnp.asarray(first)), centring @ first @ centring) <= 1e-14
    expected = cosine(centring @ first @ centring, centring @ labels @ centring)
    assert abs(float(centred_label_alignment(jnp.asarray(first), 3)) - expected) <= 1e-14
    expected = cosine(centring @ first @ centring, centring @ second @ centring)
    assert abs(float(centred_kernel_alignment(jnp.asarray(first), jnp.asarray(second))) - expected) <= 1e-14


def test_alignment_of_two_kernels_and_of_a_stack_with_one() -> None:
    stack = np.stack([random_kernel(12, seed) for seed in range(3)])
    values = kernel_alignment(jnp.asarray(stack), jnp.asarray(stack[1]))
    assert relative_difference(values, [cosine(kernel, stack[1]) for kernel in stack]) <= 1e-14
    of_labels = [float(label_alignment(jnp.asarray(kernel), 3)) for kernel in stack]
    assert relative_difference(label_alignment(jnp.asarray(stack), 3), of_labels) <= 1e-15
    labels = jnp.asarray(block_matrix(1.0, 1.0, 0.0, 3, 4))
    assert relative_difference(kernel_alignment(jnp.asarray(stack), labels), of_labels) <= 1e-14


def test_own_class() -> None:
    stack = np.stack([random_kernel(12, seed) for seed in range(3)])
    rows = one_hot(3, 4)
    expected = [cosine(stack[k], np.outer(rows[k], rows[k])) for k in range(3)]
    assert relative_difference(own_class_alignment(jnp.asarray(stack)), expected) <= 1e-14
    own = np.stack([np.outer(row, row) for row in rows])
    assert relative_difference(own_class_alignment(jnp.asarray(own)), np.ones(3)) <= 1e-15
    shared = np.stack([block_matrix(1.0, 1.0, 0.0, 3, 4)] * 3)
    assert relative_difference(own_class_alignment(jnp.asarray(shared)), np.full(3, 1 / np.sqrt(3))) <= 1e-15


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 10))
def test_scale_and_order_within_classes_do_not_matter(scale: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    kernel = random_kernel(12, seed)
    order = np.concatenate([4 * c + generator.permutation(4) for c in range(3)])
    changed = scale * kernel[np.ix_(order, order)]
    for measure in (label_alignment, centred_label_alignment):
        assert relative_difference(measure(jnp.asarray(changed), 3), measure(jnp.asarray(kernel), 3)) <= 1e-12


def test_standard_error_is_the_jackknife_done_by_hand() -> None:
    kernel = random_kernel(12, 4)
    variance = 0.0
    for c in range(3):
        without = []
        for i in range(4):
            kept = np.delete(np.arange(12), 4 * c + i)
            classes = kept // 4
            without.append(cosine(kernel[np.ix_(kept, kept)], (classes[:, None] == classes).astype(float)))
        variance += 3 / 4 * np.sum((np.array(without) - np.mean(without)) ** 2)
    estimate = estimate_label_alignment(jnp.asarray(kernel), 3)
    assert estimate.value == float(label_alignment(jnp.asarray(kernel), 3))
    assert relative_difference(estimate.standard_error, np.sqrt(variance)) <= 1e-12
    text = str(AlignmentEstimate(0.5, 0.01, np.ones(3), np.zeros(3), 4))
    assert text == "AlignmentEstimate(0.5 ± 0.01)"


def test_interval_is_students_on_fishers_scale() -> None:
    """Leave-one-out values of artanh A by hand; two samples a class have no third cumulant."""
    for m in (2, 5):
        kernel = random_kernel(3 * m, 4)
        shares, cumulants = [], []
        for c in range(3):
            without = []
            for i in range(m):
                kept = np.delete(np.arange(3 * m), m * c + i)
                classes = kept // m
                left = cosine(kernel[np.ix_(kept, kept)], (classes[:, None] == classes).astype(float))
                without.append(np.arctanh(left))
            deviation = np.array(without) - np.mean(without)
            shares.append((m - 1) / m * np.sum(deviation**2))
            cumulants.append(-((m - 1) ** 2) / (m * (m - 2)) * np.sum(deviation**3) if m > 2 else 0.0)
        error, estimate = np.sqrt(np.sum(shares)), estimate_label_alignment(jnp.asarray(kernel), 3)
        degrees, a = (m - 1) * np.sum(shares) ** 2 / np.sum(np.square(shares)), np.sum(cumulants) / error**3
        for end, sign in zip(estimate.interval(0.9), (1, -1), strict=True):
            t = (np.arctanh(estimate.value) - np.arctanh(end)) / error
            transformed = t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6
            assert abs(transformed - sign * stats.t.ppf(0.95, degrees)) <= 1e-9


def test_interval_of_a_kernel_that_is_the_labels_has_no_width() -> None:
    labels = np.arange(6) // 2
    ends = estimate_label_alignment(jnp.asarray((labels[:, None] == labels).astype(float)), 3).interval()
    assert np.allclose(ends, 1.0, atol=1e-11)


def test_standard_error_is_the_spread_of_many_draws() -> None:
    """200 draws of 12 samples a class; their standard deviation is itself known to 1/√400 = 5 %."""
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((3, 1, 5))
    values, errors = [], []
    for _ in range(200):
        roots = (centres + 0.7 * generator.standard_normal((3, 12, 5))).reshape(36, 5)
        estimate = estimate_label_alignment(jnp.asarray(roots @ roots.T), 3)
        values.append(estimate.value)
        errors.append(estimate.standard_error)
    assert abs(np.sqrt(np.mean(np.square(errors))) / np.std(values, ddof=1) - 1) <= 0.2


def test_float32_stays_float32() -> None:
    kernel = jnp.asarray(random_kernel(12), dtype=jnp.float32)
    for value in (label_alignment(kernel, 3), centred_label_alignment(kernel, 3), kernel_alignment(kernel, kernel)):
        assert value.dtype == jnp.float32
    assert abs(float(label_alignment(kernel, 3)) - float(label_alignment(jnp.asarray(random_kernel(12)), 3))) <= 1e-6


def test_bad_input() -> None:
    broken = np.eye(6)
    broken[1, 4] = np.nan
    with pytest.raises(ValueError, match=r"the kernel is nan at \(1, 4\), and not finite at 1 of 36 entries; look at"):
        label_alignment(jnp.asarray(broken), 3)
    with pytest.raises(ValueError, match=r"the second kernel is inf at \(0, 0\), and not finite at 36 of 36"):
        kernel_alignment(jnp.eye(6), jnp.full((6, 6), jnp.inf))
    with pytest.raises(ValueError, match="7 samples cannot be sorted into 3 classes of equal size"):
        label_alignment(jnp.eye(7), 3)
    with pytest.raises(ValueError, match="at least 2 classes: the labels of one class are constant"):
        centred_label_alignment(jnp.eye(4), 1)
    with pytest.raises(ValueError, match="undefined with one sample a class"):
        estimate_label_alignment(jnp.eye(3), 3)
    with pytest.raises(ValueError, match="the kernel is 0"):
        estimate_label_alignment(jnp.zeros((6, 6)), 3)


def test_a_dead_feature_has_no_alignment() -> None:
    values = np.asarray(label_alignment(jnp.stack([jnp.eye(6), jnp.zeros((6, 6))]), 3))
    assert np.isfinite(values[0])
    assert np.isnan(values[1])


def test_lowering_for_cuda() -> None:
    stack = jnp.stack([jnp.eye(6)] * 3)
    for measure in (label_alignment, centred_label_alignment):
        lower_for_cuda(measure, stack, 3)
    lower_for_cuda(own_class_alignment, stack)
    lower_for_cuda(centred_kernel_alignment, stack, stack)
