"""Kernels in closed form against loops over pairs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference
from scipy.spatial.distance import cdist

from ntkflow.kernels import linear_kernel, rbf_kernel

ROWS = np.random.default_rng(0).standard_normal((5, 2, 3))
COLUMNS = np.random.default_rng(1).standard_normal((4, 2, 3))


def test_rbf() -> None:
    own = rbf_kernel(jnp.asarray(ROWS), jnp.asarray(COLUMNS), length_scale=0.7)
    squared = cdist(ROWS.reshape(5, 6), COLUMNS.reshape(4, 6), "sqeuclidean")
    assert relative_difference(own, np.exp(-squared / (2 * 0.7**2))) <= 1e-13
    with pytest.raises(ValueError, match="length_scale must be positive"):
        rbf_kernel(jnp.asarray(ROWS), jnp.asarray(COLUMNS), length_scale=0.0)


def test_rbf_far_from_the_origin() -> None:
    """Distances do not know where the origin is; 1e6 away ‖x‖² − 2⟨x, x'⟩ + ‖x'‖² would lose twelve digits."""
    shift = 1e6 * np.ones((2, 3))
    own = rbf_kernel(jnp.asarray(ROWS + shift), jnp.asarray(ROWS + shift), length_scale=1.0)
    squared = cdist(ROWS.reshape(5, 6), ROWS.reshape(5, 6), "sqeuclidean")
    assert relative_difference(own, np.exp(-squared / 2)) <= 1e-8
    assert np.abs(np.diag(own) - 1).max() <= 1e-14


def test_linear() -> None:
    own = linear_kernel(jnp.asarray(ROWS), jnp.asarray(COLUMNS), bias=0.5)
    expected = [[float(np.sum(x * y)) + 0.25 for y in COLUMNS] for x in ROWS]
    assert relative_difference(own, expected) <= 1e-14
