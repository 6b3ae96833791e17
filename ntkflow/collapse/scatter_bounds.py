"""Bounds on the final within-class scatter from the invariant's eigenvalues, without integration."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def scatter_floor(invariant: Float[np.ndarray, "n n"], mu_single: float, means_rank: int) -> Float[np.ndarray, " n"]:
    """Lower bounds on the eigenvalues of S(t), in falling order, at every time and in the limit.

    −E = H₁AH₁ᵀ/μ_class + S/μ_single − WᵀW/m is at most the sum of its first two terms, and the first has rank at most
    r = ``means_rank`` (C, or C − 1 where ⟨h⟩ stays 0). Weyl's inequalities give, eigenvalues in falling order,

    λ_j(S) ≥ μ_single λ_{j+r}(−E).

    One that is positive excludes NC1.
    """
    falling = -np.linalg.eigvalsh(invariant)
    shifted = np.concatenate([falling[means_rank:], np.zeros(min(means_rank, len(falling)))])
    return mu_single * np.maximum(shifted, 0.0)


def scatter_ceiling(invariant: Float[np.ndarray, "n n"], mu_single: float) -> Float[np.ndarray, " n"]:
    """Upper bounds on the eigenvalues of S, in falling order, at every limit: λ_j(S) ≤ μ_single λ_j(−E)₊.

    At a limit WS = 0, so S/μ_single is the negative part of E + H₁AH₁ᵀ/μ_class, and the second term is positive
    semi-definite. Not a bound at finite times.
    """
    return mu_single * np.maximum(-np.linalg.eigvalsh(invariant), 0.0)
