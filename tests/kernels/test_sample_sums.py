"""The sums over classes of a kernel, and what is made of them, against loops over a matrix."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference

from ntkflow.kernels import SampleSums, block_values, estimate_class_values

CLASSES, M = 3, 4


def kernels(seed: int, count: int = 2) -> np.ndarray:
    roots = np.random.default_rng(seed).standard_normal((count, CLASSES * M, 7)) + 0.5
    return np.einsum("kiz,kjz->kij", roots, roots)


def test_sums_of_a_stack_are_those_of_loops() -> None:
    stack = kernels(0)
    sums = SampleSums.from_matrix(jnp.asarray(stack), CLASSES)
    for k, kernel in enumerate(stack):
        for i in range(CLASSES * M):
            assert float(sums.diagonal[k, i]) == kernel[i, i]
            for b in range(CLASSES):
                expected = sum(kernel[i, j] for j in range(CLASSES * M) if j // M == b)
                assert abs(float(sums.by_class[k, i, b]) - expected) <= 1e-13
            own = sum(kernel[i, j] for j in range(CLASSES * M) if j // M == i // M)
            assert abs(float(sums.own[k, i // M, i % M]) - own) <= 1e-13
        blocks = [[kernel[a * M : a * M + M, b * M : b * M + M].sum() for b in range(CLASSES)] for a in range(CLASSES)]
        assert relative_difference(sums.blocks[k], blocks) <= 1e-14


def test_block_values_are_those_of_the_matrix_and_of_the_mean_of_a_stack() -> None:
    stack = jnp.asarray(kernels(1))
    sums = SampleSums.from_matrix(stack, CLASSES)
    assert relative_difference(sums.block_values(), block_values(stack, CLASSES)) <= 1e-13
    assert relative_difference(sums.mean().block_values(), block_values(stack.mean(0), CLASSES)) <= 1e-13
    assert relative_difference(sums.scaled(2.5).block_values(), 2.5 * block_values(stack, CLASSES)) <= 1e-13


@pytest.mark.parametrize(("classes", "message"), [(12, "c is undefined with one sample"), (1, "n is undefined")])
def test_a_mean_over_no_pair_is_said_to_be_undefined(classes: int, message: str) -> None:
    sums = SampleSums.from_matrix(jnp.asarray(kernels(2)), classes)
    with pytest.raises(ValueError, match=message):
        sums.block_values()


def test_class_values_and_their_jackknife_are_those_done_by_hand() -> None:
    kernel = kernels(3, 1)[0]
    estimate = estimate_class_values(SampleSums.from_matrix(jnp.asarray(kernel), CLASSES))
    members = [list(range(a * M, a * M + M)) for a in range(CLASSES)]

    def value(a: list[int], b: list[int]) -> float:
        return float(np.mean([kernel[i, j] for i in a for j in b if i != j]))

    def jackknife(replicates: list[float]) -> float:
        return (M - 1) / M * float(np.sum((np.array(replicates) - np.mean(replicates)) ** 2))

    for a in range(CLASSES):
        own = [kernel[i, i] for i in members[a]]
        assert abs(float(estimate.kernel.diagonal[a]) - np.mean(own)) <= 1e-13
        without = [(sum(own) - item) / (M - 1) for item in own]
        assert abs(estimate.diagonal_errors[a] - jackknife(without) ** 0.5) <= 1e-13
        for b in range(CLASSES):
            assert abs(float(estimate.kernel.pairs[a, b]) - value(members[a], members[b])) <= 1e-13
            if a == b:
                lists = [[j for j in members[a] if j != i] for i in members[a]]
                variance = jackknife([value(some, some) for some in lists])
            else:
                variance = sum(
                    jackknife([value([j for j in members[one] if j != i], members[other]) for i in members[one]])
                    for one, other in ((a, b), (b, a))
                )
            assert abs(estimate.pair_errors[a, b] - variance**0.5) <= 1e-13
    assert str(estimate).count("class ") == CLASSES


def test_with_two_samples_a_class_the_same_class_value_has_no_error() -> None:
    sums = SampleSums.from_matrix(jnp.asarray(kernels(4)[0]), 6)
    errors = estimate_class_values(sums).pair_errors
    assert np.array_equal(np.isnan(errors), np.eye(6, dtype=bool))
    with pytest.raises(ValueError, match="undefined with one sample a class"):
        estimate_class_values(SampleSums.from_matrix(jnp.asarray(kernels(4)[0]), 12))
