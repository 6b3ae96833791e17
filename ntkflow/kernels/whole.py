"""A kernel over pairs of neurons and of samples as an array, and what the readout makes of a kernel of features."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.operator import AbstractKernelOperator


class WholeKernel(AbstractKernelOperator):
    """Θ_{p,q}(xᵢ, xⱼ) as an array: (nN)² numbers, for kernels that were measured elsewhere.

    Args:
        values: Θ_{p,q}(xᵢ, xⱼ) at [p, i, q, j], as ``empirical_ntk(..., trace=None)`` gives it.

    Raises:
        ValueError: an array that is not square.
    """

    values: Float[Array, "neurons samples neurons samples"]

    def __init__(self, values: Float[Array, "neurons rows neurons2 columns"]) -> None:
        if values.shape[:2] != values.shape[2:]:
            raise ValueError(f"a whole kernel has the shape (neurons, samples, neurons, samples), not {values.shape}")
        self.values = values

    def apply(self, array: Float[Array, "neurons samples"]) -> Float[Array, "neurons samples"]:
        """Σ_{q,j} Θ_{p,q}(xᵢ, xⱼ) array_{q,j}."""
        return jnp.einsum("piqj,qj->pi", self.values, array)


class ReadoutKernel(AbstractKernelOperator):
    """Θ of the logits f = Wh + b from Θʰ: Θ_{k,s}(x, x') = w_kᵀΘʰ(x, x')w_s + δ_ks(⟨h(x), h(x')⟩ + 1), exact.

    What it is made of decides what it leaves out: with Θʰ as an operator that leaves something out, so does this.

    Args:
        below: Θʰ.
        features: H.
        weight: W.
    """

    below: AbstractKernelOperator
    features: Float[Array, "features samples"]
    weight: Float[Array, "outputs features"]

    def apply(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """W Θʰ[Wᵀ array] + array (HᵀH + 11ᵀ)."""
        readout = (array @ self.features.T) @ self.features + jnp.sum(array, axis=1, keepdims=True)
        return self.weight @ self.below.apply(self.weight.T @ array) + readout
