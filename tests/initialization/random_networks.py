"""Wide random networks in NumPy, with plain loops over layers: what mean-field theory is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import erf

Function = Callable[[np.ndarray], np.ndarray]
FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "erf": (erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-(z**2))),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
}


def layer_means(
    name: str, widths: Sequence[int], sigma_w: float, sigma_b: float, inputs: np.ndarray, *, seed: int
) -> dict[str, list[np.ndarray]]:
    """One network f = h^L with M₀, …, M_{L−1} = ``widths`` and a single output, at two inputs (rows).

    Of every layer ℓ = 1, …, L the 2 × 2 matrices q = ⟨h^ℓ, h^ℓ⟩/M_ℓ, p = ⟨δ^ℓ, δ^ℓ⟩, and ``ntk``, the layer's part of
    Θ: weights ⟨δ^ℓ, δ^ℓ⟩⟨x^{ℓ−1}, x^{ℓ−1}⟩ and biases ⟨δ^ℓ, δ^ℓ⟩.
    """
    phi, slope = FUNCTIONS[name]
    rng = np.random.default_rng(seed)
    weights, x, entering, before = [], inputs, [], []
    for fan_in, fan_out in zip(widths, [*widths[1:], 1], strict=True):
        weight = rng.standard_normal((fan_out, fan_in)) * sigma_w / np.sqrt(fan_in)
        h = x @ weight.T + sigma_b * rng.standard_normal(fan_out)
        weights.append(weight)
        entering.append(x)
        before.append(h)
        x = phi(h)
    delta = np.ones((2, 1))
    errors = [delta]
    for weight, h in zip(weights[:0:-1], before[-2::-1], strict=True):
        delta = slope(h) * (delta @ weight)
        errors.insert(0, delta)
    p = [delta @ delta.T for delta in errors]
    return {
        "q": [h @ h.T / h.shape[1] for h in before],
        "p": p,
        "ntk": [part * (x @ x.T + 1) for part, x in zip(p, entering, strict=True)],
    }


def means(
    name: str, widths: Sequence[int], sigma_w: float, sigma_b: float, inputs: np.ndarray, *, networks: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean over random networks and its standard error: q and p by layers, (L, 2, 2), and Θ, (2, 2)."""
    drawn = [layer_means(name, widths, sigma_w, sigma_b, inputs, seed=seed) for seed in range(networks)]
    values = {key: np.array([one[key] for one in drawn]) for key in ("q", "p", "ntk")}
    values["ntk"] = values["ntk"].sum(axis=1)
    return {key: (of.mean(axis=0), of.std(axis=0, ddof=1) / np.sqrt(networks)) for key, of in values.items()}


def two_inputs(size: int, gap: float, norms: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Two rows with ‖x‖²/size = norms² and correlation 1 − gap."""
    first, second = np.zeros(size), np.zeros(size)
    first[0] = 1
    second[:2] = 1 - gap, np.sqrt(gap * (2 - gap))
    return np.sqrt(size) * np.stack([norms[0] * first, norms[1] * second])
