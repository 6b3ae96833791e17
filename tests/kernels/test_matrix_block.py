"""Block kernels with matrices for values, against the whole Θʰ in NumPy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from kernels.dense import block_matrix, relative_difference

from ntkflow.kernels import BlockKernel, MatrixBlockKernel


def symmetric(generator: np.random.Generator, n: int) -> np.ndarray:
    root = generator.standard_normal((n, n))
    return root + root.T


def whole(own: np.ndarray, same: np.ndarray, everywhere: np.ndarray, classes: int, per_class: int) -> np.ndarray:
    """Θʰ as (n, N, n, N): three Kronecker products."""
    parts = block_matrix(1, 0, 0, classes, per_class), block_matrix(1, 1, 0, classes, per_class)
    samples = classes * per_class
    theta = np.einsum("pq,ji->pjqi", own, parts[0]) + np.einsum("pq,ji->pjqi", same, parts[1])
    return theta + np.einsum("pq,ji->pjqi", everywhere, np.ones((samples, samples)))


def test_apply_and_the_three_matrices_that_act() -> None:
    generator = np.random.default_rng(0)
    blocks = [symmetric(generator, 3) for _ in range(3)]
    kernel = MatrixBlockKernel(*map(jnp.asarray, blocks), classes=2, per_class=3)
    array = generator.standard_normal((3, 6))
    expected = np.einsum("pjqi,qi->pj", whole(*blocks, 2, 3), array)
    assert relative_difference(kernel.apply(jnp.asarray(array)), expected) <= 1e-14
    vector = generator.standard_normal(3)
    shapes = [(kernel.lambda_global, np.ones(6)), (kernel.lambda_class, np.repeat([1.0, -1.0], 3))]
    shapes.append((kernel.lambda_single, np.array([1.0, -2.0, 1.0, 0.0, 0.0, 0.0])))
    for matrix, over_samples in shapes:
        image = kernel.apply(jnp.asarray(np.outer(vector, over_samples)))
        assert relative_difference(image, np.outer(np.asarray(matrix) @ vector, over_samples)) <= 1e-13
    assert len(kernel.acting) == 3


def test_nearest_gives_such_a_kernel_back_and_is_orthogonal_to_the_rest() -> None:
    generator = np.random.default_rng(1)
    blocks = [symmetric(generator, 3) for _ in range(3)]
    nearest = MatrixBlockKernel.nearest(jnp.asarray(whole(*blocks, 2, 3)), 2)
    for ours, theirs in zip((nearest.own, nearest.same_class, nearest.everywhere), blocks, strict=True):
        assert relative_difference(ours, theirs) <= 1e-14
    noise = generator.standard_normal((18, 18))
    noise = (noise + noise.T).reshape(3, 6, 3, 6)
    nearest = MatrixBlockKernel.nearest(jnp.asarray(noise), 2)
    parts = [np.asarray(part) for part in (nearest.own, nearest.same_class, nearest.everywhere)]
    rest = noise - whole(*parts, 2, 3)
    other = whole(*blocks, 2, 3)
    assert abs(np.sum(rest * other)) <= 1e-13 * np.linalg.norm(noise) * np.linalg.norm(other)


def test_from_block_values() -> None:
    block = BlockKernel(1.9, 1.2, 0.4, classes=2, per_class=3)
    kernel = MatrixBlockKernel.from_block(block, 3)
    array = jnp.asarray(np.random.default_rng(2).standard_normal((3, 6)))
    assert relative_difference(kernel.apply(array), block.apply(array)) <= 1e-14
    for matrix, value in zip(
        (kernel.lambda_global, kernel.lambda_class, kernel.lambda_single), block.eigenvalues, strict=True
    ):
        assert relative_difference(matrix, float(value) * np.eye(3)) <= 1e-14


def test_only_what_acts_is_listed() -> None:
    eye = jnp.eye(2)
    assert len(MatrixBlockKernel(eye, eye, eye, classes=3, per_class=1).acting) == 2
    assert len(MatrixBlockKernel(eye, eye, eye, classes=1, per_class=3).acting) == 2
