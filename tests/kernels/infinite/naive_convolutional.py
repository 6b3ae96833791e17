"""Kernels of convolutional networks by loops over all pairs of positions, as the lecture slides (003) write them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

Dual = Callable[[float, float, float], tuple[float, float]]
"""(q_u, q_v, k) → (E[φφ], E[φ'φ'])."""


def relu(q_u: float, q_v: float, k: float) -> tuple[float, float]:
    if q_u == 0 or q_v == 0:
        return 0.0, 0.0
    size = np.sqrt(q_u * q_v)
    angle = np.arccos(np.clip(k / size, -1, 1))
    return size * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def cosine(q_u: float, q_v: float, k: float) -> tuple[float, float]:
    falls = np.exp(-(q_u + q_v) / 2)
    return falls * np.cosh(k), falls * np.sinh(k)


def trace(values: np.ndarray, filter_size: int) -> np.ndarray:
    """tr [M]_D at every pair of positions; entries outside the images are 0."""
    reach = filter_size // 2
    padded = np.pad(values, reach)
    sums = np.zeros_like(values)
    for place in itertools.product(*map(range, values.shape)):
        i, j, i2, j2 = place
        for a, b in itertools.product(range(filter_size), repeat=2):
            sums[place] += padded[i + a, j + b, i2 + a, j2 + b]
    return sums


def slides_kernels(
    x: np.ndarray, x2: np.ndarray, *, depth: int, filter_size: int, c_sigma: float, dual: Dual = relu
) -> tuple[np.ndarray, np.ndarray]:
    """K^(L) and Θ^(L) of two images (channels, P, Q), both (P, Q, P, Q); the slides' CNTK is the second one's trace."""
    covariances = {
        (one, other): trace(np.einsum("aij,akl->ijkl", (x, x2)[one], (x, x2)[other]), filter_size)
        for one, other in ((0, 0), (0, 1), (1, 1))
    }
    tangent = covariances[0, 1]
    for layer in range(1, depth + 1):
        moments = {pair: np.stack([np.zeros_like(covariance)] * 2) for pair, covariance in covariances.items()}
        for (one, other), found in moments.items():
            for i, j, i2, j2 in itertools.product(*map(range, tangent.shape)):
                found[:, i, j, i2, j2] = dual(
                    covariances[one, one][i, j, i, j], covariances[other, other][i2, j2, i2, j2],
                    covariances[one, other][i, j, i2, j2],
                )  # fmt: skip
            found *= c_sigma / filter_size**2
        covariances = {pair: trace(found[0], filter_size) for pair, found in moments.items()}
        before_head = moments[0, 1][1] * tangent + moments[0, 1][0]
        tangent = trace(before_head, filter_size)
        if layer == depth:
            return moments[0, 1][0], before_head
    raise ValueError("no layers")
