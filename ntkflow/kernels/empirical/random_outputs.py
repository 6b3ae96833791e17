"""The trace over outputs from a few random combinations of them.

For v with independent entries ±1, E[v_p v_q] = δ_pq, so that one combination ⟨v, h⟩ of n outputs has a kernel with the
trace as its expectation,

    E⟨∇⟨v, h(x)⟩, ∇⟨v, h(x')⟩⟩ = Σ_{p,q} E[v_p v_q] Θ_{p,q}(x, x') = Σ_p Θ_{p,p}(x, x'),

by one backward pass instead of n (Hutchinson 1990; paper 3 measures neuron by neuron). A block value of one draw is
vᵀAv with A_pq the mean of Θ_{p,q} over its pairs of samples. The terms p = q are in every draw exactly. With A₀ the
rest of A, of p ≠ q, the variance is 2‖A₀‖²_F and the skewness √8 tr(A₀³)/‖A₀‖³_F: at most √8, that of χ² of one degree
of freedom, which it comes near to where A has rank one.
"""

from __future__ import annotations

import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray


def random_signs(key: PRNGKeyArray, draws: int, outputs: int, dtype: DTypeLike) -> Float[Array, "draws outputs"]:
    """v for each draw: independent entries, 1 or −1 with probability one half each.

    Raises:
        ValueError: fewer than 3 draws, from which no error could be told.
    """
    if draws < 3:
        raise ValueError(
            f"random_outputs is the number of random combinations, at least 3 for an error to be told, not {draws}"
        )
    return jax.random.rademacher(key, (draws, outputs), dtype)
