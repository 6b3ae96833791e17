"""Block values (d, c, n) of a measured kernel, with standard errors."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.block import BlockKernel

BLOCK_VALUES = ("diagonal", "same_class", "different_class")
"""The order of the three values wherever they are listed."""


@dataclasses.dataclass(frozen=True)
class BlockEstimate:
    """The block values of one N×N kernel and how far another draw of samples would move them.

    The values are means over the diagonal, over pairs of distinct samples of one class, and over pairs from two
    classes: the nearest block kernel in Frobenius norm. On the N samples themselves they are exact. The covariance is
    that of the values as estimates for the population the samples were drawn from: a jackknife that leaves out one
    sample at a time, within its class. It needs m ≥ 3 and is NaN below.
    """

    kernel: BlockKernel
    covariance: Float[np.ndarray, "3 3"]

    @property
    def values(self) -> Float[np.ndarray, "3"]:
        """d, c, n."""
        kernel = self.kernel
        return np.array([float(kernel.diagonal), float(kernel.same_class), float(kernel.different_class)])

    @property
    def standard_errors(self) -> Float[np.ndarray, "3"]:
        """Jackknife standard errors of d, c, n."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def eigenvalue_standard_errors(self) -> Float[np.ndarray, "3"]:
        """Jackknife standard errors of the eigenvalues of the global mean, class means and within-class space."""
        m, samples = self.kernel.per_class, self.kernel.samples
        to_eigenvalues = np.array([[1, m - 1, samples - m], [1, m - 1, -m], [1, -1, 0]], dtype=float)
        return np.sqrt(np.diagonal(to_eigenvalues @ self.covariance @ to_eigenvalues.T))

    def __str__(self) -> str:
        pairs = zip("dcn", self.values, self.standard_errors, strict=True)
        return "BlockEstimate(" + ", ".join(f"{name} = {value:.4g} ± {error:.2g}" for name, value, error in pairs) + ")"


def estimate_block_values(matrix: Float[Array, "samples samples"], classes: int) -> BlockEstimate:
    """Block values and their jackknife covariance from a kernel matrix over samples sorted by class.

    Raises:
        ValueError: if the samples cannot be sorted into ``classes`` classes of equal size of at least 2.
    """
    samples = matrix.shape[-1]
    if samples % classes or samples < 2 * classes:
        raise ValueError(f"block values need {classes} classes of equal size of at least 2, not {samples} samples")
    kernel, per_class = BlockKernel.nearest(jnp.asarray(matrix), classes), samples // classes
    if per_class < 3:
        # Leaving out one of two samples leaves no pair to average over.
        return BlockEstimate(kernel, np.full((3, 3), np.nan))
    left_out = _leave_one_out(np.asarray(matrix), classes)
    deviation = left_out - left_out.mean(axis=1, keepdims=True)
    return BlockEstimate(kernel, (per_class - 1) / per_class * np.einsum("aiv,aiw->vw", deviation, deviation))


def _leave_one_out(matrix: Float[np.ndarray, "samples samples"], classes: int) -> Float[np.ndarray, "classes m 3"]:
    """d, c, n as means of the classes' own means, with each sample left out in turn, from sums over rows: O(N²)."""
    samples = matrix.shape[0]
    m = samples // classes
    rows = matrix.reshape(classes, m, classes, m).sum(axis=3)
    blocks = rows.sum(axis=1)
    diagonal = np.diagonal(matrix).reshape(classes, m)
    own = rows[np.arange(classes), :, np.arange(classes)]

    d_class = diagonal.mean(axis=1)
    d = d_class.mean() + ((diagonal.sum(axis=1, keepdims=True) - diagonal) / (m - 1) - d_class[:, None]) / classes

    within = own - diagonal
    pairs = within.sum(axis=1)
    c_class = pairs / (m * (m - 1))
    c_left = (pairs[:, None] - 2 * within) / ((m - 1) * (m - 2))
    c = c_class.mean() + (c_left - c_class[:, None]) / classes

    # Leaving i out of class a changes the mean of every block (a, b) and (b, a), b ≠ a.
    across = rows.sum(axis=2) - own
    total = blocks.sum() - np.trace(blocks)
    across_class = across.sum(axis=1, keepdims=True)
    n_pairs = classes * (classes - 1) * m * m
    n = (total + 2 * (across_class * m / (m - 1) - across * m / (m - 1) - across_class)) / max(n_pairs, 1)
    return np.stack([d, c, n], axis=-1)
