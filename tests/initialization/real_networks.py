"""Random networks in NumPy, as an independent reference: all layers of all draws at once, gradients by hand."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np


class Drawn(NamedTuple):
    """Of each draw: Θ_W, Θ_b, ‖x^l‖² (l < L), ‖δ^l‖² (1 ≤ l ≤ L), and the output."""

    weights: np.ndarray
    biases: np.ndarray
    signals: np.ndarray
    errors: np.ndarray
    output: np.ndarray


def relu_networks(widths: tuple[int, ...], sigma_w: float, squared: float, draws: int, seed: int) -> Drawn:
    """ReLU, σ_b = 0."""
    rng = np.random.default_rng(seed)
    sizes = [*widths, 1]
    signal = np.zeros((draws, widths[0]))
    signal[:, 0] = np.sqrt(squared)
    signals, gates, matrices = [signal], [], []
    for fan_in, fan_out in itertools.pairwise(sizes):
        matrix = rng.standard_normal((draws, fan_out, fan_in)) * sigma_w / np.sqrt(fan_in)
        field = np.einsum("nij,nj->ni", matrix, signals[-1])
        matrices.append(matrix)
        gates.append(field > 0)
        signals.append(field * gates[-1])
    delta = np.ones((draws, 1))
    errors = [np.ones(draws)]
    for index in range(len(widths) - 1, 0, -1):
        delta = np.einsum("nij,ni->nj", matrices[index], delta) * gates[index - 1]
        errors.append(np.sum(delta**2, axis=1))
    norms = np.stack([np.sum(item**2, axis=1) for item in signals[:-1]])
    backward = np.stack(errors[::-1])
    return Drawn(np.sum(norms * backward, axis=0), backward.sum(axis=0), norms, backward, field[:, 0])


def agrees(samples: np.ndarray, expected: float, *, errors: float = 4.0) -> bool:
    """Whether a mean is within so many standard errors of what is expected of it."""
    return bool(abs(samples.mean() - expected) <= errors * samples.std(ddof=1) / np.sqrt(len(samples)))
