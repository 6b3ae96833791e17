"""The invariant E of paper 3, Theorem 5.1, as the difference of a weight side and a feature side."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.states import ClassState, SampleState
from ntkflow.kernels import BlockKernel


class InvariantSides(eqx.Module):
    """E = WᵀW/m − [H₁(I − α11ᵀ)H₁ᵀ/μ_class + H₂H₂ᵀ/μ_single], (26).

    Conserved by the flows (19) and (25), for any targets and any loss scale, while μ_class and μ_single are positive.
    """

    weight_side: Float[Array, "features features"]
    feature_side: Float[Array, "features features"]

    @classmethod
    def of(cls, state: ClassState | SampleState, kernel: BlockKernel) -> InvariantSides:
        """The two sides of the invariant at a state, for the values of the last-layer kernel Θʰ."""
        split = ClassState.from_sample(state, kernel.classes) if isinstance(state, SampleState) else state
        means, total = split.class_means, jnp.sum(split.class_means, axis=1)
        between = (means @ means.T - kernel.alpha * jnp.outer(total, total)) / kernel.lambda_class
        # With one sample a class there is nothing within it, and μ_single may be 0 without meaning anything.
        within = split.within @ split.within.T / kernel.lambda_single if kernel.per_class > 1 else 0.0
        return cls(weight_side=split.weight.T @ split.weight / kernel.per_class, feature_side=between + within)

    @property
    def invariant(self) -> Float[Array, "features features"]:
        """E."""
        return self.weight_side - self.feature_side

    @property
    def norm(self) -> Float[Array, ""]:
        """‖E‖_F."""
        return jnp.linalg.norm(self.invariant)

    @property
    def scale(self) -> Float[Array, ""]:
        """‖weight side‖_F + ‖feature side‖_F: what the drift of E is measured against, since E itself may be 0."""
        return jnp.linalg.norm(self.weight_side) + jnp.linalg.norm(self.feature_side)

    @property
    def alignment(self) -> Float[Array, ""]:
        """Cosine ⟨weight side, feature side⟩_F / (‖·‖_F ‖·‖_F): 1 where (28), with its sign corrected, holds."""
        product = jnp.sum(self.weight_side * self.feature_side)
        return product / (jnp.linalg.norm(self.weight_side) * jnp.linalg.norm(self.feature_side))
