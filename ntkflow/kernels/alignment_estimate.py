"""The alignment of a kernel with the labels, with the error that a draw of samples leaves in it."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.alignment import label_alignment
from ntkflow.kernels.intervals import skewed_interval, skewness_of
from ntkflow.kernels.requirements import several_of_a_class


@dataclasses.dataclass(frozen=True)
class AlignmentEstimate:
    """Thesis (2.63) of one kernel on the samples it was measured on, and how far another draw would move it.

    Attributes:
        value: the alignment A of these samples, diagonal included. It depends on m: the identity has 1/√m.
        standard_error: jackknife that leaves out one sample at a time, within its class.
        class_variances: the jackknife's of artanh A, Fisher's z; a sum over classes.
        class_third_cumulants: likewise; 0 for m = 2, where they are not known.
        per_class: m.
    """

    value: float
    standard_error: float
    class_variances: Float[np.ndarray, " classes"]
    class_third_cumulants: Float[np.ndarray, " classes"]
    per_class: int

    def interval(self, level: float = 0.95) -> Float[np.ndarray, "2"]:
        """For the mean of A over draws of m samples of each class; it stays between −1 and 1.

        Student's t on artanh A, with Satterthwaite's degrees of freedom and corrected for skewness
        (:func:`ntkflow.kernels.intervals.skewed_interval`). It holds the mean less often than it says, by up to a tenth
        for few samples: the jackknife of m values sees little of the tails that a product of kernels has. The shares by
        m are in docs/theory/kernels.md. Raises ``ValueError`` for a level outside (0, 1).
        """
        shares = self.class_variances
        variance, squares = np.array([np.sum(shares)]), np.sum(shares**2)
        degrees = (self.per_class - 1) * (variance**2 / squares if squares > 0 else np.ones(1))
        errors = np.sqrt(variance)
        skewness = skewness_of(np.array([np.sum(self.class_third_cumulants)]), errors)
        transformed = np.arctanh(_inside(np.array([self.value])))
        return np.tanh(skewed_interval(transformed, errors, skewness, degrees, level)[0])

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
    fisher = _deviations(np.arctanh(_inside(without)))
    cumulants = np.zeros(classes) if m == 2 else -((m - 1) ** 2) / (m * (m - 2)) * np.sum(fisher**3, axis=1)
    return AlignmentEstimate(
        value,
        float(np.sqrt((m - 1) / m * np.sum(_deviations(without) ** 2))),
        (m - 1) / m * np.sum(fisher**2, axis=1),
        cumulants,
        m,
    )


def _deviations(without: Float[np.ndarray, "classes m"]) -> Float[np.ndarray, "classes m"]:
    return without - without.mean(axis=1, keepdims=True)


def _inside(values: Float[np.ndarray, "*values"]) -> Float[np.ndarray, "*values"]:
    """A little inside (−1, 1): artanh is infinite at its ends."""
    return np.clip(values, -1 + 1e-12, 1 - 1e-12)
