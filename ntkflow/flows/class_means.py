"""The same flow split into class means and what is left within each class: paper 3, Theorem 5.1."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.sample import sample_residual, targets_for
from ntkflow.flows.states import ClassState
from ntkflow.kernels import BlockKernel


class ClassFlow(AbstractSquaredErrorFlow[ClassState]):
    """The flow (25) of (H₁, H₂, W, b), an exact rewriting of (19):

    Ḣ₁ = −WᵀR₁(μ_class I + κ_n m 11ᵀ)/Z,  Ḣ₂ = −μ_single WᵀWH₂/Z,
    Ẇ = −m(R₁H₁ᵀ + WH₂H₂ᵀ)/Z,  ḃ = −mR₁1/Z, with R₁ = WH₁ + b1ᵀ − T.

    Args:
        kernel: Θʰ, (κ_d, κ_c, κ_n).
        targets: T, column c the target of class c; the identity for one-hot labels, as in the paper.
        loss_scale: Z (the paper's text has Z = 1).

    Raises:
        ValueError: targets for another number of classes than the kernel's.
    """

    kernel: BlockKernel
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]

    def __init__(
        self,
        kernel: BlockKernel,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
    ) -> None:
        self.kernel = kernel
        self.targets = targets_for(kernel, targets)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)

    def vector_field(self, t: Float[Array, ""], state: ClassState, args: Any) -> ClassState:
        """The right-hand side of (25) over Z."""
        kernel, m = self.kernel, self.kernel.per_class
        residual = self.class_residual(state) / self.loss_scale
        total = jnp.sum(residual, axis=1)
        logits_within = state.weight @ state.within / self.loss_scale
        coupled = kernel.lambda_class * residual + kernel.different_class * m * total[:, None]
        return ClassState(
            class_means=-state.weight.T @ coupled,
            within=-kernel.lambda_single * (state.weight.T @ logits_within),
            weight=-m * (residual @ state.class_means.T + logits_within @ state.within.T),
            bias=-m * total,
        )

    def class_residual(self, state: ClassState) -> Float[Array, "outputs classes"]:
        """R₁, the class means of the residual."""
        return state.weight @ state.class_means + state.bias[:, None] - self.targets

    def residual(self, state: ClassState) -> Float[Array, "outputs samples"]:
        """R of every sample, in the basis of :func:`ntkflow.flows.within_basis`."""
        return sample_residual(state.to_sample(), self.targets)

    def residual_norms(self, state: ClassState) -> Float[Array, "3"]:
        """Norms of the three parts of R, without going back to single samples: the within-class part is √m WH₂."""
        m, classes = self.kernel.per_class, self.kernel.classes
        residual = self.class_residual(state)
        mean = jnp.mean(residual, axis=1, keepdims=True)
        return jnp.stack(
            [
                jnp.sqrt(m * classes * jnp.sum(mean**2)),
                jnp.sqrt(m * jnp.sum((residual - mean) ** 2)),
                jnp.sqrt(m * jnp.sum((state.weight @ state.within) ** 2)),
            ]
        )

    def invariants(self, state: ClassState) -> dict[str, Float[Array, "..."]]:
        """E of (26), n×n."""
        return {"E": InvariantSides.of(state, self.kernel).invariant}
