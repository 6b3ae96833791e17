"""The networks that both sides build, and how both draw the same parameters: NumPy only.

Parameters are drawn one after the other in the order of the layers, so that only outputs have to be stored, not fifteen
million weights. Two networks whose layers come in another order, or have other shapes, get other numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

Role = Literal["weight", "gain", "shift", "bias", "mean", "variance"]

SAMPLES, CLASSES = 12, 10


@dataclasses.dataclass(frozen=True)
class Case:
    """A network: its kind, the arguments of its constructor, one input, a seed; whether it has the papers' size."""

    kind: Literal["vgg", "resnet", "densenet"]
    options: dict[str, Any]
    image: tuple[int, int, int]
    seed: int
    real: bool = True


CASES = {
    "vgg11": Case("vgg", {"depth": 11}, (1, 28, 28), 1),
    "vgg16": Case("vgg", {"depth": 16}, (3, 32, 32), 2),
    "resnet20": Case("resnet", {"depth": 20, "shortcut": "padding"}, (1, 28, 28), 3),
    "resnet20_projection": Case("resnet", {"depth": 20, "shortcut": "projection"}, (3, 32, 32), 4),
    "densenet40": Case("densenet", {"depth": 40, "growth": 12, "compression": 0.5}, (3, 32, 32), 5),
    "densenet40_uncompressed": Case("densenet", {"depth": 40, "growth": 12, "compression": 1.0}, (1, 28, 28), 6),
    "narrow_vgg11": Case("vgg", {"depth": 11, "channels": (3, 4, 5, 6, 6), "head": (7, 5)}, (2, 28, 19), 7, real=False),
    "narrow_densenet10": Case("densenet", {"depth": 10, "growth": 3, "compression": 0.4}, (2, 11, 9), 8, real=False),
}

COUNTED = {
    **{f"vgg{depth}": ("vgg", {"depth": depth}) for depth in (11, 13, 16, 19)},
    **{
        f"resnet{depth}, {shortcut}": ("resnet", {"depth": depth, "shortcut": shortcut})
        for depth in (8, 20, 32, 56)
        for shortcut in ("projection", "padding")
    },
    **{
        f"densenet40, compression {compression:g}": (
            "densenet",
            {"depth": 40, "growth": 12, "compression": compression},
        )
        for compression in (0.5, 1.0)
    },
}
"""Networks of the papers' sizes, whose parameters are counted for 3 and for 1 input channels and 10 classes."""


def draw(seed: int, arrays: Iterable[tuple[Role, tuple[int, ...]]]) -> list[np.ndarray]:
    """Values for arrays of these roles and shapes, in this order: nothing is at its usual start; exact in float32."""
    generator = np.random.default_rng(seed)
    return [_value(role, generator.standard_normal(shape)).astype(np.float32) for role, shape in arrays]


def _value(role: Role, noise: np.ndarray) -> np.ndarray:
    match role:
        case "weight":
            return noise * np.sqrt(2 / np.prod(noise.shape[1:]))
        case "gain":
            return 1 + 0.2 * noise
        case "variance":
            return np.exp(0.3 * noise)
        case _:
            return 0.2 * noise


def inputs(case: Case) -> np.ndarray:
    """Images from N(0, 1), exact in float32."""
    return np.random.default_rng([case.seed, 1]).standard_normal((SAMPLES, *case.image)).astype(np.float32)
