"""Beside the mean mode: where E is a multiple of the identity, the class means end as an ETF of known size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class ClassPart:
    """The part of (W, H₁) off the mean mode, in the subspace that it is coupled in.

    Args:
        dimension: of that subspace.
        multiple: e, the mean of E's eigenvalues there.
        distance: ‖E − e·I‖ there.
        means_scale: x > 0 with x²/μ_class + ex = 1/m. Where ``dimension`` is C − 1, ``distance`` is 0 and R₁ → 0,
            the limit is M̄ᵀM̄ = xP, PWWᵀP = P/x.
        growing_rank: the least of the C − 1 singular values of the part that grows from the saddle W = H = 0, over the
            sum of the norms of the two terms it is made of. With S = 0 and the above, R₁ → 0 exactly if it is not 0.
    """

    dimension: int
    multiple: float
    distance: float
    means_scale: float
    growing_rank: float


def class_part(
    weight: Float[np.ndarray, "classes n"],
    means: Float[np.ndarray, "n classes"],
    invariant: Float[np.ndarray, "n n"],
    space: Float[np.ndarray, "n dimension"],
    *,
    per_class: int,
    mu_class: float,
    zero: float,
) -> ClassPart:
    """Look at PW, H₁P and E in the subspace ``space``; e up to ``zero`` counts as 0.

    With x = PW/√m, y = PH₁ᵀ/√μ_class and σ² = mμ_class the flow with S = 0 is
    Z(x, y)˙ = (x, y)L − σ²/2 · (x, y)g, g = xᵀx + yᵀy, L = (σ²e/2, σ; σ, −σ²e/2) acting on the pair. So (x, y) is its
    linear flow times an invertible n×n matrix, and the rank of its part along L's growing eigenvector is conserved.
    """
    classes, m = weight.shape[0], per_class
    inside = space.T @ invariant @ space
    multiple = float(np.trace(inside)) / max(space.shape[1], 1)
    distance = float(np.linalg.norm(inside - multiple * np.eye(space.shape[1])))
    multiple = 0.0 if abs(multiple) <= zero else multiple
    sigma, half = np.sqrt(m * mu_class), m * mu_class * multiple / 2
    pair = sigma * weight / np.sqrt(m), (np.hypot(sigma, half) - half) * means.T / np.sqrt(mu_class)
    first, second = (part - part.mean(axis=0) for part in pair)
    singular = np.linalg.svd(first + second, compute_uv=False)
    # In units of the two terms: their sum may be nothing but rounding.
    size = np.linalg.norm(first, 2) + np.linalg.norm(second, 2)
    enough = len(singular) >= classes - 1 and size > 0
    # The positive root, by the form that does not cancel.
    root = np.sqrt(multiple**2 + 4 / (m * mu_class))
    scale = 2 / m / (multiple + root) if multiple > 0 else (root - multiple) * mu_class / 2
    return ClassPart(
        dimension=space.shape[1],
        multiple=multiple,
        distance=distance,
        means_scale=float(scale),
        growing_rank=float(singular[classes - 2] / size) if enough else 0.0,
    )
