"""Ratios of the block values, paper 2's measures of label awareness, with standard errors."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.estimates import BlockEstimate, estimate_block_values
from ntkflow.kernels.requirements import refuse_not_finite, several_of_a_class

BLOCK_RATIOS = ("same_over_diagonal", "different_over_diagonal", "gap")
"""The order of the ratios wherever they are listed."""


@dataclasses.dataclass(frozen=True)
class BlockRatios:
    """Θ̄_c/Θ̄_d, Θ̄_n/Θ̄_d and their gap (Θ̄_c − Θ̄_n)/Θ̄_d (paper 2, (23) and Fig. 4) of one kernel.

    Paper 2 averages Θ̄_c and Θ̄_n over each class first and then over classes, without the pairs of a sample with itself;
    with classes of one size that is the mean over all such pairs, d, c and n of :class:`BlockEstimate`. Its network has
    one output; for several the ratios are those of the kernel that was given, traced or of one output. A factor on the
    kernel (trace, mean over outputs, parametrisation by one common width) cancels.

    Attributes:
        block: the three values and their jackknife covariance.
        values: the three ratios, in the order of ``BLOCK_RATIOS``.
        covariance: theirs, J Σ Jᵀ with Σ that of d, c, n and J the derivative of the ratios (delta method). NaN where Σ
            is, for m = 2.
    """

    block: BlockEstimate
    values: Float[np.ndarray, "3"]
    covariance: Float[np.ndarray, "3 3"]

    @property
    def standard_errors(self) -> Float[np.ndarray, "3"]:
        """Standard errors of the three ratios under another draw of samples."""
        return np.sqrt(np.diagonal(self.covariance))

    def __str__(self) -> str:
        pairs = zip(("c/d", "n/d", "gap"), self.values, self.standard_errors, strict=True)
        return "BlockRatios(" + ", ".join(f"{name} = {value:.4g} ± {error:.2g}" for name, value, error in pairs) + ")"


def estimate_block_ratios(matrix: Float[Array, "samples samples"], classes: int) -> BlockRatios:
    """The ratios of a kernel's block values and their covariance; samples sorted by class.

    Raises:
        ValueError: classes that are not of one size of at least 2 (with one sample a class Θ̄_c is a mean over no pair),
            a kernel that is not finite, or one whose mean diagonal is 0.
    """
    several_of_a_class(matrix.shape[-1], classes, "the same-class mean")
    refuse_not_finite(matrix)
    return ratios_of(estimate_block_values(jnp.asarray(matrix), classes))


def ratios_of(block: BlockEstimate) -> BlockRatios:
    """The ratios of block values that were measured in any way. Raises ``ValueError`` where d is 0."""
    d, c, n = (float(value) for value in block.values)
    if d == 0:
        raise ValueError("the mean of the kernel's diagonal is 0: no gradient is left to compare the block values with")
    jacobian = np.array([[-c / d, 1, 0], [-n / d, 0, 1], [-(c - n) / d, 1, -1]]) / d
    return BlockRatios(block, np.array([c, n, c - n]) / d, jacobian @ block.covariance @ jacobian.T)
