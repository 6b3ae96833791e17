"""Block values of every class and every pair of classes, with standard errors."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ntkflow.kernels.class_block import ClassBlockKernel
from ntkflow.kernels.requirements import several_of_a_class
from ntkflow.kernels.sample_sums import SampleSums


@dataclasses.dataclass(frozen=True)
class ClassBlockEstimate:
    """d_a and c_a of each class, n_ab of each pair of classes, and how far another draw of samples would move them.

    Means over the samples of class a, over pairs of its distinct samples, and over pairs of samples of a and b; their
    means over classes and pairs are d, c and n.

    Attributes:
        kernel: the values; its pairs have c_a on the diagonal and n_ab beside it.
        diagonal_errors: jackknife standard errors of d_a: the spread over the class, divided by √m.
        pair_errors: those of c_a, on the diagonal, and of n_ab, each class of the pair drawn anew. c_a has one for
            m ≥ 3 only, and NaN below.
    """

    kernel: ClassBlockKernel
    diagonal_errors: Float[np.ndarray, " classes"]
    pair_errors: Float[np.ndarray, "classes classes"]

    def __str__(self) -> str:
        d, pairs = np.asarray(self.kernel.diagonal), np.asarray(self.kernel.pairs)
        lines = [
            f"  class {a}: d = {d[a]:.4g} ± {self.diagonal_errors[a]:.2g}, "
            f"c = {pairs[a, a]:.4g} ± {self.pair_errors[a, a]:.2g}"
            for a in range(len(d))
        ]
        return "\n".join(["ClassBlockEstimate", *lines])


def estimate_class_values(sums: SampleSums) -> ClassBlockEstimate:
    """The values of one kernel by class, from its sums over classes.

    Raises:
        ValueError: one sample a class: c_a is undefined.
    """
    classes, m = sums.classes, several_of_a_class(sums.samples, sums.classes, "the same-class value of each class")
    diagonal = np.asarray(sums.diagonal, dtype=float).reshape(classes, m)
    rows = np.asarray(sums.by_class, dtype=float).reshape(classes, m, classes)
    each = np.arange(classes)
    within = rows[each, :, each] - diagonal

    pairs = rows.sum(axis=1) / m**2
    pairs = 0.5 * (pairs + pairs.T)
    pairs[each, each] = within.sum(axis=1) / (m * (m - 1))

    # Leaving out one of m numbers moves their mean by (mean − number)/(m − 1).
    spread = np.var(rows / m, axis=1, ddof=1) / m
    variances = spread + spread.T
    # c_a without i is (Σ − 2 Σ_j Θ_ij)/((m − 1)(m − 2)).
    variances[each, each] = 4 * np.var(within, axis=1) / (m - 2) ** 2 / (m - 1) if m > 2 else np.nan
    kernel = ClassBlockKernel(jnp.asarray(diagonal.mean(axis=1)), jnp.asarray(pairs), sizes=[m] * classes)
    return ClassBlockEstimate(kernel, np.sqrt(diagonal.var(axis=1, ddof=1) / m), np.sqrt(variances))
