"""Θ(x, x̃) beside Θ(x, x): the ratio of their expectations at infinite width, and paper 2's bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ntkflow.errors import UserError
from ntkflow.initialization.layer_numbers import Numbers, checked_widths

OFF_DIAGONAL_BOUNDS = (0.25, 1.0)
"""Paper 2, (16): bounds of lim E Θ(x, x̃)/E Θ(x, x) for L, M → ∞."""


def off_diagonal_ratio(widths: Sequence[int], sigma_w: float, cosine: float, *, biases_only: bool = False) -> float:
    """E Θ(x, x̃)/E Θ(x, x) with the angles of infinite width, ‖x‖ = ‖x̃‖ = 1; ReLU, σ_b = 0.

    Σ_l w_l ∏_{k=l}^{L−1} g(ρ_{k−1})/Σ_l v_l, with ρ_k = r(ρ_{k−1}), g(t) = (π/2 + arcsin t)/π,
    r(t) = (√(1 − t²) + t π/2 + t arcsin t)/π. Of the biases w_l = v_l = a^{L−l}: paper 2, (18). With the weights
    w_l = a^{L−l} + a^{L−1} (n_{l−1}/n_0) ρ_{l−1}, v_l the same at ρ = 1: as in its proof.

    Args:
        widths: (n_0, …, n_{L−1}).
        sigma_w: σ_w > 0.
        cosine: ρ_0, the cosine of the angle between the inputs.
        biases_only: (18) itself, meant for the ordered phase.

    Raises:
        UserError: a cosine outside [−1, 1], or σ_w not above 0.
    """
    if not -1 <= cosine <= 1 or not sigma_w > 0:
        raise UserError(
            f"expected a cosine in [-1, 1] and σ_w > 0, found {cosine:g} and {sigma_w:g}",
            place="off-diagonal ratio",
            remedy="Give ⟨x, x̃⟩/(‖x‖‖x̃‖).",
        )
    n = checked_widths(widths)
    depth, log_a = len(n), 2 * np.log(sigma_w) - np.log(2.0)
    angles = np.empty(depth)
    angles[0] = cosine
    for index in range(1, depth):
        angles[index] = correlation_map(angles[index - 1])
    with np.errstate(divide="ignore"):
        slopes = np.log((np.pi / 2 + np.arcsin(angles[:-1])) / np.pi)
    # ∏_{k=l}^{L−1} g(ρ_{k−1}), for l = 1 … L.
    kept = np.exp(np.append(np.cumsum(slopes[::-1])[::-1], 0.0))
    above = np.arange(depth - 1.0, -1, -1) * log_a
    top = max(above.max(), (depth - 1) * log_a)
    biases = np.exp(above - top)
    weights = np.zeros(depth) if biases_only else np.exp((depth - 1) * log_a - top) * n / n[0]
    return float(np.sum(kept * (biases + weights * angles)) / np.sum(biases + weights))


def correlation_map(cosine: float) -> float:
    """r(t): the cosine after a wide ReLU layer of σ_b = 0."""
    t = float(np.clip(cosine, -1, 1))
    return float(min((np.sqrt(1 - t**2) + t * np.pi / 2 + t * np.arcsin(t)) / np.pi, 1.0))


def off_diagonal_dispersion_bound(diagonal: Numbers, ratio: float = OFF_DIAGONAL_BOUNDS[0]) -> Numbers:
    """E Θ²(x, x̃)/E² Θ(x, x̃) ≤ (1/c²) E Θ²(x, x)/E² Θ(x, x), c the ratio of the means: paper 2, (17).

    c = 1/4 unless told. By Cauchy and Schwarz it holds at every width for the actual ratio of the means and ‖x‖ = ‖x̃‖.
    """
    return np.asarray(diagonal, float) / ratio**2
