"""Which part of feature space takes part: the rest has scatter that the flow never touches."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def coupled_space(
    generators: Float[np.ndarray, "features vectors"],
    scatter: Float[np.ndarray, "features features"],
    tolerance: float,
) -> Float[np.ndarray, "features coupled"]:
    """An orthonormal basis of the smallest subspace that contains the generators and that S maps into itself.

    With the generators Wᵀ and H₁ at one moment, W and H₁ stay in that space for all times: their derivatives are made
    of Wᵀ, H₁ and SWᵀ, and S's part on the orthogonal complement is then constant, since WS vanishes there.

    Args:
        generators: columns that span the starting space, in units in which the largest is about 1.
        scatter: S, symmetric, in units in which the features are about 1.
        tolerance: a new direction counts if its length exceeds this.
    """
    basis = _new_directions(np.zeros((len(scatter), 0)), generators, tolerance)
    newest = basis
    while newest.shape[1]:
        newest = _new_directions(basis, scatter @ newest, tolerance)
        basis = np.hstack([basis, newest])
    return basis


def _new_directions(
    basis: Float[np.ndarray, "features known"], columns: Float[np.ndarray, "features vectors"], tolerance: float
) -> Float[np.ndarray, "features new"]:
    # Twice: one projection leaves rounding of the size of what was taken off.
    rest = columns - basis @ (basis.T @ columns)
    rest = rest - basis @ (basis.T @ rest)
    left, singular, _ = np.linalg.svd(rest, full_matrices=False)
    return left[:, singular > tolerance]
