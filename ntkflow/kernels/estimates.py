"""Block values (d, c, n) of a measured kernel, with standard errors."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.block import BlockKernel
from ntkflow.kernels.intervals import skewed_interval, skewness_of
from ntkflow.kernels.requirements import several_of_a_class
from ntkflow.kernels.sample_sums import SampleSums

BLOCK_VALUES = ("diagonal", "same_class", "different_class")
"""The order of the three values wherever they are listed."""


@dataclasses.dataclass(frozen=True)
class Jackknife:
    """How d, c, n vary with the draw of samples: shares of classes, which are drawn independently and add up.

    Each sample is left out in turn, within its class. With δᵢ the values without sample i, less their mean over the
    class a, its share of the covariance is (m − 1)/m Σ_{i in a} δᵢδᵢᵀ. That of the third cumulants is
    −(m − 1)²/(m(m − 2)) Σ_{i in a} δᵢ³, unbiased for d, a mean over samples. All of it is NaN for m < 3: without one of
    two samples no pair of the class is left.

    Attributes:
        class_covariances: of d, c, n.
        class_third_cumulants: of each of them.
    """

    class_covariances: Float[np.ndarray, "*stack classes 3 3"]
    class_third_cumulants: Float[np.ndarray, "*stack classes 3"]

    @property
    def covariance(self) -> Float[np.ndarray, "*stack 3 3"]:
        """Of d, c, n."""
        return self.class_covariances.sum(axis=-3)

    @property
    def third_cumulants(self) -> Float[np.ndarray, "*stack 3"]:
        """Of d, c and n."""
        return self.class_third_cumulants.sum(axis=-2)


@dataclasses.dataclass(frozen=True)
class BlockEstimate:
    """The block values of one N×N kernel and how far another draw of samples would move them.

    The values are means over the diagonal, over pairs of distinct samples of one class, and over pairs from two
    classes: the nearest block kernel in Frobenius norm. On the N samples themselves they are exact. The covariance is
    that of the values as estimates for the population the samples were drawn from: a jackknife that leaves out one
    sample at a time, within its class. It needs m ≥ 3 and is NaN below.

    Attributes:
        kernel: d, c, n.
        jackknife: covariance and third cumulants, class by class.
    """

    kernel: BlockKernel
    jackknife: Jackknife

    @property
    def values(self) -> Float[np.ndarray, "3"]:
        """d, c, n."""
        kernel = self.kernel
        return np.array([float(kernel.diagonal), float(kernel.same_class), float(kernel.different_class)])

    @property
    def covariance(self) -> Float[np.ndarray, "3 3"]:
        """Jackknife covariance of d, c, n: classes are drawn independently of each other."""
        return self.jackknife.covariance

    @property
    def standard_errors(self) -> Float[np.ndarray, "3"]:
        """Jackknife standard errors of d, c, n."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def degrees_of_freedom(self) -> Float[np.ndarray, "3"]:
        """Of the three variances, which are sums over classes with m − 1 each (Satterthwaite): m − 1 to C(m − 1)."""
        shares = np.diagonal(self.jackknife.class_covariances, axis1=1, axis2=2)
        squares = np.sum(shares**2, axis=0)
        most = self.kernel.classes * (self.kernel.per_class - 1.0)
        ratio = np.sum(shares, axis=0) ** 2 / np.where(squares == 0, 1.0, squares)
        # Without any spread there is nothing to weigh.
        return np.where(squares == 0, most, (self.kernel.per_class - 1) * ratio)

    @property
    def eigenvalue_standard_errors(self) -> Float[np.ndarray, "3"]:
        """Jackknife standard errors of the eigenvalues of the global mean, class means and within-class space."""
        m, samples = self.kernel.per_class, self.kernel.samples
        to_eigenvalues = np.array([[1, m - 1, samples - m], [1, m - 1, -m], [1, -1, 0]], dtype=float)
        return np.sqrt(np.diagonal(to_eigenvalues @ self.covariance @ to_eigenvalues.T))

    def interval(self, level: float = 0.95) -> Float[np.ndarray, "3 2"]:
        """Intervals for the population's d, c, n from the jackknife's errors and skewness. NaN for m < 3.

        Student's t, corrected for skewness (:func:`ntkflow.kernels.intervals.skewed_interval`): means of squared
        gradients are skewed, and without the correction the intervals are too short for few samples. Raises
        ``ValueError`` for a level outside (0, 1).
        """
        errors = self.standard_errors
        skewness = skewness_of(self.jackknife.third_cumulants, errors)
        return skewed_interval(self.values, errors, skewness, self.degrees_of_freedom, level)

    def __str__(self) -> str:
        pairs = zip("dcn", self.values, self.standard_errors, strict=True)
        return "BlockEstimate(" + ", ".join(f"{name} = {value:.4g} ± {error:.2g}" for name, value, error in pairs) + ")"


def estimate_block_values(matrix: Float[Array, "samples samples"], classes: int) -> BlockEstimate:
    """Block values and their jackknife covariance from a kernel matrix over samples sorted by class.

    Raises:
        ValueError: if the samples cannot be sorted into ``classes`` classes of equal size of at least 2.
    """
    several_of_a_class(matrix.shape[-1], classes, "c, the mean over pairs of one class,")
    matrix = jnp.asarray(matrix)
    return BlockEstimate(BlockKernel.nearest(matrix, classes), jackknife(SampleSums.from_matrix(matrix, classes)))


def jackknife(sums: SampleSums) -> Jackknife:
    """The jackknife of d, c, n of one kernel or of each of a stack, in O(NC)."""
    m, shape = sums.per_class, (*sums.diagonal.shape[:-1], sums.classes, 3)
    if m < 3:
        return Jackknife(np.full((*shape, 3), np.nan), np.full(shape, np.nan))
    left_out = _leave_one_out(sums)
    deviation = left_out - left_out.mean(axis=-2, keepdims=True)
    return Jackknife(
        (m - 1) / m * np.einsum("...iv,...iw->...vw", deviation, deviation),
        -((m - 1) ** 2) / (m * (m - 2)) * np.sum(deviation**3, axis=-2),
    )


def _leave_one_out(sums: SampleSums) -> Float[np.ndarray, "*stack classes m 3"]:
    """d, c, n as means of the classes' own means, with each sample left out in turn."""
    classes, m = sums.classes, sums.per_class
    shape = (*sums.diagonal.shape[:-1], classes, m)
    diagonal = np.asarray(sums.diagonal, dtype=float).reshape(shape)
    rows = np.asarray(sums.by_class, dtype=float).reshape(*shape, classes)
    own, all_classes = np.einsum("...aia->...ai", rows), rows.sum(axis=-1)

    d_class = diagonal.mean(axis=-1, keepdims=True)
    d = d_class.mean(axis=-2, keepdims=True)
    d = d + ((diagonal.sum(axis=-1, keepdims=True) - diagonal) / (m - 1) - d_class) / classes

    within = own - diagonal
    pairs = within.sum(axis=-1, keepdims=True)
    c_class = pairs / (m * (m - 1))
    c_left = (pairs - 2 * within) / ((m - 1) * (m - 2))
    c = c_class.mean(axis=-2, keepdims=True) + (c_left - c_class) / classes

    # Leaving i out of class a changes the mean of every block (a, b) and (b, a), b ≠ a.
    across = all_classes - own
    across_class = across.sum(axis=-1, keepdims=True)
    total = across_class.sum(axis=-2, keepdims=True)
    n_pairs = classes * (classes - 1) * m * m
    n = (total + 2 * (across_class * m / (m - 1) - across * m / (m - 1) - across_class)) / max(n_pairs, 1)
    return np.stack([d, c, n], axis=-1)
