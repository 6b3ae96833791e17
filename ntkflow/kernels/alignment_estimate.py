"""The alignment of a kernel with the labels, with the error that a draw of samples leaves in it."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.alignment import label_alignment
from ntkflow.kernels.requirements import several_of_a_class


@dataclasses.dataclass(frozen=True)
class AlignmentEstimate:
    """Thesis (2.63) of one kernel on the samples it was measured on, and how far another draw would move it.

    Attributes:
        value: the alignment of these samples, diagonal included. It depends on m: the identity has 1/√m.
        standard_error: jackknife that leaves out one sample at a time, within its class.
    """

    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"AlignmentEstimate({self.value:.4g} ± {self.standard_error:.2g})"


def estimate_label_alignment(matrix: Float[Array, "samples samples"], classes: int) -> AlignmentEstimate:
    """The label alignment and its jackknife standard error, from sums over rows: O(N²).

    Raises:
        ValueError: as :func:`ntkflow.kernels.label_alignment`; with one sample a class, of which none can be left out;
            for a kernel that is 0.
    """
    m = several_of_a_class(matrix.shape[-1], classes, "the jackknife error of the alignment")
    value = float(label_alignment(matrix, classes))
    if not bool(jnp.any(matrix != 0)):
        raise ValueError("the kernel is 0: it has no alignment with the labels")
    kernel = np.asarray(matrix, dtype=float)
    diagonal = np.diagonal(kernel)
    same = np.einsum("aiaj->ai", kernel.reshape(classes, m, classes, m)).reshape(-1)
    same_without = same.sum() - 2 * same + diagonal
    squares_without = np.sum(kernel**2) - 2 * np.sum(kernel**2, axis=1) + diagonal**2
    # One class has m − 1 samples then: ‖YᵀY‖² is the sum of the squared sizes.
    labels_without = (classes - 1) * m**2 + (m - 1) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (same_without / np.sqrt(squares_without * labels_without)).reshape(classes, m)
    deviation = without - without.mean(axis=1, keepdims=True)
    return AlignmentEstimate(value, float(np.sqrt((m - 1) / m * np.sum(deviation**2))))
