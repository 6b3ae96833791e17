"""The loss of a fully-connected network, its gradient by hand, and the parts of its residual, in plain NumPy.

Arrays of parameters come in the order of :func:`networks.plain_mlp.arrays`; samples are columns.
"""

from __future__ import annotations

import numpy as np

SLOPES = {
    "linear": lambda a: np.ones_like(a),
    "tanh": lambda a: 1 - a**2,
    "relu": lambda a: (a > 0).astype(float),
}
"""Derivatives of activations, as functions of their values."""
VALUES = {"linear": lambda z: z, "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}


def residual(arrays: list[np.ndarray], inputs: np.ndarray, targets: np.ndarray, activation: str) -> np.ndarray:
    """f(X) − Y."""
    return _forward(arrays, inputs, activation)[-1] - targets


def gradient(
    arrays: list[np.ndarray], inputs: np.ndarray, targets: np.ndarray, activation: str, z: float
) -> list[np.ndarray]:
    """∇ ‖f(X) − Y‖²/(2Z), array by array."""
    values = _forward(arrays, inputs, activation)
    back = (values.pop() - targets) / z
    found: list[np.ndarray] = []
    for layer in reversed(range(len(arrays) // 2)):
        a = values[layer]
        found[:0] = [back @ a.T, back.sum(axis=1)]
        back = (arrays[2 * layer].T @ back) * SLOPES[activation](a)
    return found


def step(
    arrays: list[np.ndarray], inputs: np.ndarray, targets: np.ndarray, activation: str, z: float, size: float
) -> list[np.ndarray]:
    """One step of gradient descent."""
    slopes = gradient(arrays, inputs, targets, activation, z)
    return [array - size * slope for array, slope in zip(arrays, slopes, strict=True)]


def part_norms(residual: np.ndarray, classes: int) -> np.ndarray:
    """Norms of what is common to all samples, to the samples of a class beyond that, and of the rest."""
    by_class = np.split(residual, classes, axis=1)
    means = [block.mean(axis=1) for block in by_class]
    overall = residual.mean(axis=1)
    per_class = by_class[0].shape[1]
    return np.array(
        [
            np.sqrt(residual.shape[1] * (overall**2).sum()),
            np.sqrt(sum(per_class * ((mean - overall) ** 2).sum() for mean in means)),
            np.sqrt(sum(((b - mean[:, None]) ** 2).sum() for b, mean in zip(by_class, means, strict=True))),
        ]
    )


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.reshape(-1) for array in arrays])


def shaped(vector: np.ndarray, like: list[np.ndarray]) -> list[np.ndarray]:
    """The inverse of :func:`flat`."""
    ends = np.cumsum([array.size for array in like])[:-1]
    return [part.reshape(array.shape) for part, array in zip(np.split(vector, ends), like, strict=True)]


def _forward(arrays: list[np.ndarray], inputs: np.ndarray, activation: str) -> list[np.ndarray]:
    """What enters each layer, and the logits."""
    values = [inputs.reshape(len(inputs), -1).T]
    for w, b in zip(arrays[:-2:2], arrays[1:-2:2], strict=True):
        values.append(VALUES[activation](w @ values[-1] + b[:, None]))
    values.append(arrays[-2] @ values[-1] + arrays[-1][:, None])
    return values
