"""The dispersion of Θ(x, x) where depth and width go to infinity together."""

from __future__ import annotations

import numpy as np

from ntkflow.errors import UserError
from ntkflow.initialization.layer_numbers import Numbers


def dispersion_limit(depth_to_width: Numbers, sigma_w: float, *, input_to_width: float = 1.0) -> Numbers:
    """lim E Θ²/E² Θ for M → ∞, L/M → λ; ReLU, σ_b = 0, hidden layers of width M. Paper 2, (8)–(10), derived again.

    With a = σ_w²/2. Ordered phase, a < 1: 1. Chaotic phase, a > 1: W = e^{5λ} (1/3 + 2/(9λ) − (1 − e^{−6λ})/(27λ²)).
    Edge of chaos: (W + 2α₀X + α₀²B)/(1 + α₀)² with B = 2(e^{5λ} − 1 − 5λ)/(25λ²) and
    X = B/2 + (2/3)((e^{5λ} − 1)/5 − (e^{5λ} − e^{−λ})/6)/λ² + (1/15)(λ e^{5λ} − (e^{5λ} − 1)/5)/λ².
    (8) and (9) as printed rest on E ∏ N_δ N_x ∝ ∏ (1 + 1/n), which holds for a single layer; over k layers of width n
    it is (2/3)(1 − 1/n)^k + (1/3)(1 + 5/n)^k up to O(1/n) (docs/errata.md).

    Args:
        depth_to_width: λ > 0, one or an array of them.
        sigma_w: σ_w.
        input_to_width: α₀ = n_0/M, which matters on the edge of chaos only.

    Raises:
        UserError: λ or α₀ that are not positive.
    """
    ratio = _positive(depth_to_width, "depth_to_width (λ)")
    share = float(_positive(input_to_width, "input_to_width (α₀)"))
    variance = sigma_w**2
    if np.isclose(variance, 2, rtol=1e-12, atol=0):
        total = _weights(ratio) + 2 * share * _cross(ratio) + share**2 * _biases(ratio)
        return total / (1 + share) ** 2
    return _weights(ratio) if variance > 2 else np.ones_like(ratio)


def published_dispersion_limit(depth_to_width: Numbers, sigma_w: float, *, input_to_width: float = 1.0) -> Numbers:
    """Paper 2, (8)–(10), as printed; arguments as of :func:`dispersion_limit`, which it differs from at order λ²."""
    t = _positive(depth_to_width, "depth_to_width (λ)")
    share = float(_positive(input_to_width, "input_to_width (α₀)"))
    variance, high, low = sigma_w**2, np.exp(5 * t), np.exp(t)
    if np.isclose(variance, 2, rtol=1e-12, atol=0):
        inner = high * (1 / (2 * t) + (2 * share**2 - 8 * share) / (25 * t**2))
        inner = inner + (low - high) * (1 - 4 * share) / (8 * t**2)
        return (inner + 2 * share / (5 * t) * ((4 - share) / (5 * t) - 1 - share)) / (1 + share) ** 2
    return high / (2 * t) * (1 - (1 - np.exp(-4 * t)) / (4 * t)) if variance > 2 else np.ones_like(t)


def _weights(t: Numbers) -> Numbers:
    """lim E Θ_W²/E² Θ_W: (2/λ²) ∫₀^λ (λ − Δ) (2/3 e^{5λ−6Δ} + 1/3 e^{5λ}) dΔ."""
    return np.exp(5 * t) * (1 / 3 + 4 / 3 * _second(6 * t))


def _biases(t: Numbers) -> Numbers:
    """lim E Θ_b²/L² on the edge of chaos: (2/λ²) ∫₀^λ (λ − s) e^{5s} ds."""
    return 2 * np.exp(5 * t) * _first_second(5 * t)


def _cross(t: Numbers) -> Numbers:
    """lim α₀ E Θ_W Θ_b/L²: (1/λ²) ∫₀^λ e^{5s} ∫₀^{λ−s} (1 + 2/3 e^{−Δ} + 1/3 e^{5Δ}) dΔ ds."""
    inner = 2 / 3 * _exponentials(5 * t, -t) + 1 / 3 * _first_second(-5 * t)
    return _biases(t) / 2 + inner


def _second(z: Numbers) -> Numbers:
    """(z − 1 + e^{−z})/z² = ∫₀¹ (1 − u) e^{−zu} du."""
    small = np.abs(z) < 1e-2
    safe = np.where(small, 1.0, z)
    series = 1 / 2 - z / 6 + z**2 / 24 - z**3 / 120 + z**4 / 720
    return np.where(small, series, (safe + np.expm1(-safe)) / safe**2)


def _first_second(z: Numbers) -> Numbers:
    """e^{−z} ∫₀¹ (1 − u) e^{zu} du = ∫₀¹ v e^{−zv} dv."""
    small = np.abs(z) < 1e-2
    safe = np.where(small, 1.0, z)
    series = 1 / 2 - z / 3 + z**2 / 8 - z**3 / 30 + z**4 / 144
    return np.where(small, series, (1 - np.exp(-safe) * (1 + safe)) / safe**2)


def _exponentials(p: Numbers, q: Numbers) -> Numbers:
    """∫₀¹ e^{pu} ∫₀^{1−u} e^{qv} dv du, for p ≠ q."""
    # (1/(p − q)) (φ(p) − φ(q)), φ(z) = (e^z − 1)/z.
    return (np.expm1(p) / p - np.expm1(q) / q) / (p - q)


def _positive(value: Numbers, name: str) -> Numbers:
    values = np.asarray(value, float)
    if not np.all(np.isfinite(values) & (values > 0)):
        raise UserError(
            f"expected finite numbers above 0, found {value}", place=name, remedy="Give λ = L/M, α₀ = n_0/M."
        )
    return values
