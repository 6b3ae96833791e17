"""Block kernels as dense NumPy matrices, and the one measure of difference: independent of ntkflow."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

SHAPES = [(2, 1), (2, 4), (3, 3), (5, 2), (1, 4)]
"""(C, m) of the tests over random values: one sample a class, two classes and one class among them."""


def block_matrix(d: float, c: float, n: float, classes: int, per_class: int) -> np.ndarray:
    """(d−c) I + (c−n) YᵀY + n 11ᵀ with YᵀY as a Kronecker product."""
    samples = classes * per_class
    same = np.kron(np.eye(classes), np.ones((per_class, per_class)))
    return (d - c) * np.eye(samples) + (c - n) * same + n * np.ones((samples, samples))


def projectors(classes: int, per_class: int) -> np.ndarray:
    """Orthogonal projectors on the global mean, the class means and the within-class space."""
    samples = classes * per_class
    on_global = np.full((samples, samples), 1 / samples)
    on_classes = np.kron(np.eye(classes), np.full((per_class, per_class), 1 / per_class))
    return np.stack([on_global, on_classes - on_global, np.eye(samples) - on_classes])


def relative_difference(actual: ArrayLike, expected: ArrayLike) -> float:
    """‖actual − expected‖ / ‖expected‖, NaN if a number is; the plain norm where the expected array is 0."""
    actual, expected = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    assert actual.shape == expected.shape
    norm = np.linalg.norm(expected)
    return float(np.linalg.norm(actual - expected) / (norm if norm > 0 else 1.0))
