"""The problem that every flow benchmark runs: random features and weights, a kernel in proportion to n."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ntkflow.flows import SampleFlow, SampleState, random_state
from ntkflow.kernels import BlockKernel


@dataclasses.dataclass(frozen=True)
class ReferenceProblem:
    """C classes, n features, m samples a class: κ = (1.0 n, 0.8 n, 0.2 n), W ~ N(0, 1/n), H = max(0, 0.5·N(0, 1)),
    b = 0, Z = m n."""

    classes: int
    features: int
    per_class: int

    @property
    def kernel(self) -> BlockKernel:
        """Θʰ."""
        n = self.features
        return BlockKernel(1.0 * n, 0.8 * n, 0.2 * n, classes=self.classes, per_class=self.per_class)

    @property
    def loss_scale(self) -> float:
        """Z."""
        return float(self.per_class * self.features)

    @property
    def flow(self) -> SampleFlow:
        """The flow as paper 3 prints it, (19)."""
        return SampleFlow(self.kernel, loss_scale=self.loss_scale)

    def state(self, seed: int = 0) -> SampleState:
        """An initial state."""
        return random_state(
            jax.random.key(seed), classes=self.classes, per_class=self.per_class, features=self.features
        )

    def times(self, end: float) -> jax.Array:
        """50 times, evenly spaced."""
        return jnp.linspace(0.0, end, 50)

    def __str__(self) -> str:
        return f"C={self.classes}, n={self.features}, m={self.per_class}"
