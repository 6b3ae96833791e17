"""Kernel–label alignment and the share of a block structure."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import block_matrix

from ntkflow.kernels import block_share, label_alignment


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
    assert abs(float(label_alignment(jnp.asarray(block_matrix(3.0, 3.0, 0.0, 3, 4)), 3)) - 1) <= 1e-15


@pytest.mark.parametrize("values", [(2.0, 1.0, 0.5), (0.5, 1.0, 2.0), (1.0, -0.3, 0.0)])
def test_block_kernels_are_all_block(values: tuple[float, float, float]) -> None:
    kernel = block_matrix(*values, 3, 4)
    assert abs(float(block_share(jnp.asarray(kernel), 3)) - 1) <= 1e-14
    noise = np.random.default_rng(1).standard_normal((12, 12))
    disturbed = kernel + noise + noise.T
    assert float(block_share(jnp.asarray(disturbed), 3)) < 0.9


def test_block_share_is_one_minus_what_the_nearest_block_kernel_misses() -> None:
    kernel = np.random.default_rng(2).standard_normal((12, 12))
    kernel = kernel @ kernel.T
    basis = np.stack([block_matrix(*unit, 3, 4).ravel() for unit in np.eye(3)], axis=1)
    _, (missed,), *_ = np.linalg.lstsq(basis, kernel.ravel(), rcond=None)
    assert abs(float(block_share(jnp.asarray(kernel), 3)) - (1 - missed / np.sum(kernel**2))) <= 1e-13
