"""The global-mean mode where it decouples: its limit is the root of one monotone function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class MeanMode:
    """Limit of the part of (W, H₁, b) along u = 1/√C, where that part does not see the rest.

    Args:
        bias_sum: 1ᵀb, for one-hot targets.
        weight: |Wᵀu|.
        mean: |H₁u| = √C |⟨h⟩|.
    """

    bias_sum: float
    weight: float
    mean: float


def mean_mode_limit(
    weight: Float[np.ndarray, " n"],
    mean: Float[np.ndarray, " n"],
    bias_sum: float,
    *,
    per_class: int,
    classes: int,
    mu_global: float,
) -> MeanMode:
    """Where ω̇ = −mrη/Z, η̇ = −μ_global rω/Z, ċ = −mCr/Z with r = ω·η + c − 1 ends; ω = Wᵀu, η = H₁u, c = 1ᵀb.

    In dτ = r dt/Z the first two are linear: p = √μ_global ω + √m η goes as e^{−στ}, q = √μ_global ω − √m η as
    e^{στ}, σ = √(mμ_global), and c = c₀ − mCτ. So r is the function

    r(τ) = (|p₀|²e^{−2στ} − |q₀|²e^{2στ})/(4σ) + c₀ − 1 − mCτ,

    which falls with a slope of −mC at least. Its only root is the limit, from every start.
    """
    m = per_class
    sigma = np.sqrt(m * mu_global)
    p, q = np.sqrt(mu_global) * weight + np.sqrt(m) * mean, np.sqrt(mu_global) * weight - np.sqrt(m) * mean
    growing, shrinking = float(q @ q) / (4 * sigma), float(p @ p) / (4 * sigma)

    def residual(tau: float) -> float:
        with np.errstate(over="ignore"):
            # Not to infinity, which times 0 is no number.
            exponent = np.clip(2 * sigma * tau, -700, 700)
            logits = shrinking * np.exp(-exponent) - growing * np.exp(exponent)
        return float(logits) + bias_sum - 1 - m * classes * tau

    reach = abs(residual(0.0)) / (m * classes)
    tau = _bisect(residual, -reach, reach)
    exponent = np.clip(sigma * tau, -700, 700)
    end_p, end_q = p * np.exp(-exponent), q * np.exp(exponent)
    return MeanMode(
        bias_sum=float(bias_sum - m * classes * tau),
        weight=float(np.linalg.norm(end_p + end_q)) / (2 * np.sqrt(mu_global)),
        mean=float(np.linalg.norm(end_p - end_q)) / (2 * np.sqrt(m)),
    )


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a falling function, to the last bit."""
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return middle
