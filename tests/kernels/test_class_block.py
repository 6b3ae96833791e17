"""Kernels with values of their own for every class, against dense NumPy matrices."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from kernels.class_matrix import class_matrix
from kernels.dense import block_matrix, relative_difference

from ntkflow.kernels import BlockKernel, ClassBlockKernel

SIZES = (3, 1, 5)
LABELS = np.repeat(np.arange(3), SIZES)


def random_values(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    root = generator.standard_normal((3, 3))
    pairs = root @ root.T
    return np.diag(pairs) + generator.uniform(0.1, 1, 3), pairs


def kernel_of(values: tuple[np.ndarray, np.ndarray]) -> ClassBlockKernel:
    return ClassBlockKernel(*map(jnp.asarray, values), sizes=SIZES)


@pytest.mark.parametrize("seed", range(3))
def test_against_the_dense_matrix(seed: int) -> None:
    values = random_values(seed)
    kernel, dense = kernel_of(values), class_matrix(*values, LABELS)
    assert relative_difference(kernel.as_matrix(), dense) <= 1e-14
    rows = np.random.default_rng(seed).standard_normal((2, 3, 9))
    assert relative_difference(kernel.apply(jnp.asarray(rows)), rows @ dense) <= 1e-14
    within = np.repeat(np.asarray(kernel.lambda_single), np.array(SIZES) - 1)
    spectrum = np.sort(np.concatenate([within, np.asarray(kernel.class_eigenvalues)]))
    assert relative_difference(spectrum, np.linalg.eigvalsh(dense)) <= 1e-13
    average = np.repeat(np.diag(1 / np.array(SIZES)), SIZES, axis=1)
    assert relative_difference(kernel.mean_kernel, average @ dense @ average.T) <= 1e-14


def test_nearest_is_the_projection_on_such_kernels() -> None:
    """It gives such a kernel back; and of any matrix the rest is orthogonal to all of them."""
    dense = class_matrix(*random_values(0), LABELS)
    assert relative_difference(ClassBlockKernel.nearest(jnp.asarray(dense), SIZES).as_matrix(), dense) <= 1e-14
    noise = np.random.default_rng(1).standard_normal((9, 9))
    noise = noise + noise.T
    nearest = np.asarray(ClassBlockKernel.nearest(jnp.asarray(noise), SIZES).as_matrix())
    for seed in range(3):
        other = class_matrix(*random_values(seed), LABELS)
        assert abs(np.sum((noise - nearest) * other)) <= 1e-12 * np.linalg.norm(noise) * np.linalg.norm(other)


def test_equal_sizes_and_values_are_the_block_kernel() -> None:
    block = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=4)
    kernel = ClassBlockKernel.from_block(block)
    assert relative_difference(kernel.as_matrix(), block_matrix(1.9, 1.2, 0.4, 3, 4)) <= 1e-14
    class_and_global = np.sort(np.asarray(block.eigenvalues)[[1, 1, 0]])
    assert relative_difference(kernel.class_eigenvalues, class_and_global) <= 1e-13
    assert kernel.mean_size == 4


def test_what_it_prints() -> None:
    assert str(kernel_of(random_values(0))) == "ClassBlockKernel of 3 classes, 9 samples: [3, 1, 5]"
    many = ClassBlockKernel.common(2.0, 1.0, 0.5, sizes=range(1, 21))
    assert str(many) == "ClassBlockKernel of 20 classes, 210 samples: 1 to 20 samples each"


def test_bad_input_is_refused() -> None:
    diagonal, pairs = map(jnp.asarray, random_values(0))
    with pytest.raises(ValueError, match="3 classes need 3 diagonal values, not 2"):
        ClassBlockKernel(diagonal[:2], pairs, sizes=SIZES)
    with pytest.raises(ValueError, match=r"3 classes need a 3 x 3 matrix of pair values, not \(3, 2\)"):
        ClassBlockKernel(diagonal, pairs[:, :2], sizes=SIZES)
    with pytest.raises(ValueError, match="values of pairs of classes is not symmetric"):
        ClassBlockKernel(diagonal, pairs.at[0, 1].add(0.1), sizes=SIZES)
    with pytest.raises(ValueError, match=r"size of at least 1, not \[3, 0, 5\]"):
        ClassBlockKernel(diagonal, pairs, sizes=(3, 0, 5))
    with pytest.raises(ValueError, match="add up to 9, not to 8 samples"):
        ClassBlockKernel.nearest(jnp.eye(8), SIZES)
