"""A kernel with values of its own for every class and pair of classes, entry by entry in NumPy."""

from __future__ import annotations

import numpy as np


def class_matrix(diagonal: np.ndarray, pairs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``pairs`` at the classes of the two samples, and ``diagonal`` for a sample and itself."""
    kernel = np.empty((len(labels), len(labels)))
    for i, a in enumerate(labels):
        for j, b in enumerate(labels):
            kernel[i, j] = diagonal[a] if i == j else pairs[a, b]
    return kernel
