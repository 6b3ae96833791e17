"""What a flow moves: features, weights and biases, per sample or split by class."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import helmert


class SampleState(eqx.Module):
    """H, W, b of (1): the features of every sample as columns, sorted by class, and the readout."""

    features: Float[Array, "features samples"]
    weight: Float[Array, "outputs features"]
    bias: Float[Array, " outputs"]


class ClassState(eqx.Module):
    """H₁, H₂, W, b of (23)–(25): class means, and what is left of the features in an orthonormal basis of each class.

    H₂ has 1/√m in it, so that H₂H₂ᵀ is the sum over classes of the within-class covariances (normalised by m).
    """

    class_means: Float[Array, "features classes"]
    within: Float[Array, "features within"]
    weight: Float[Array, "outputs features"]
    bias: Float[Array, " outputs"]

    @classmethod
    def from_sample(cls, state: SampleState, classes: int) -> ClassState:
        """Split a sample state by (23). Raises ``ValueError`` if the classes cannot all have one size."""
        neurons, samples = state.features.shape
        if samples % classes:
            raise ValueError(f"{samples} samples cannot be sorted into {classes} classes of equal size")
        m = samples // classes
        by_class = state.features.reshape(neurons, classes, m)
        within = jnp.einsum("pci,ji->pcj", by_class, within_basis(m)) / jnp.sqrt(m)
        return cls(jnp.mean(by_class, axis=-1), within.reshape(neurons, -1), state.weight, state.bias)

    def to_sample(self) -> SampleState:
        """The inverse of :meth:`from_sample`: H = H₁ ⊗ 1ᵀ + √m H₂ Q₂ᵀ."""
        neurons, classes = self.class_means.shape
        m = self.within.shape[1] // classes + 1
        within = jnp.einsum("pcj,ji->pci", self.within.reshape(neurons, classes, m - 1), within_basis(m))
        features = self.class_means[:, :, None] + jnp.sqrt(m) * within
        return SampleState(features.reshape(neurons, classes * m), self.weight, self.bias)


def within_basis(per_class: int) -> Float[Array, "within per_class"]:
    """Q̃₂ᵀ of (22): m − 1 orthonormal rows that sum to zero (Helmert's)."""
    return jnp.asarray(np.zeros((0, 1)) if per_class == 1 else helmert(per_class))
