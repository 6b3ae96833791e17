"""The flow of every sample's features under a block-structured Θʰ: paper 3, Theorem 4.1."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractBlockFlow
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.states import ClassState, SampleState
from ntkflow.kernels import BlockKernel, split_eigenspaces


class SampleFlow(AbstractBlockFlow[SampleState]):
    """Ḣ = −WᵀRK/Z,  Ẇ = −RHᵀ/Z,  ḃ = −R1/Z, with R = WH + b1ᵀ − Y (paper 3, (19), there with Z = 1).

    K is the block kernel of Assumption 3.2, the same for every feature and zero between two features; (19) writes out
    RK. Assumes C classes of m samples each, sorted. A right-hand side costs O(nCN).

    Args:
        kernel: Θʰ, (κ_d, κ_c, κ_n).
        targets: column c is the target of the samples of class c; the identity for one-hot labels.
        loss_scale: Z.

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

    def vector_field(self, t: Float[Array, ""], state: SampleState, args: Any) -> SampleState:
        """The right-hand side of (19) over Z."""
        residual = self.residual(state) / self.loss_scale
        return SampleState(
            features=-state.weight.T @ self.kernel.apply(residual),
            weight=-residual @ state.features.T,
            bias=-jnp.sum(residual, axis=1),
        )

    def residual_norms(self, state: SampleState) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return split_eigenspaces(self.residual(state), self.kernel.classes).norms()

    def invariants(self, state: SampleState) -> dict[str, Float[Array, "..."]]:
        """E of (26), n×n."""
        return {"E": InvariantSides.of(state, self.kernel).invariant}

    def class_state(self, state: SampleState) -> ClassState:
        """H₁, H₂, W, b by (23)."""
        return ClassState.from_sample(state, self.kernel.classes)

    def sample_state(self, state: SampleState) -> SampleState:
        """The state itself."""
        return state


def sample_residual(state: SampleState, targets: Float[Array, "outputs classes"]) -> Float[Array, "outputs samples"]:
    """R = WH + b1ᵀ − Y for samples sorted by class, each class with its column of ``targets``."""
    per_class = state.features.shape[1] // targets.shape[1]
    return state.weight @ state.features + state.bias[:, None] - jnp.repeat(targets, per_class, axis=1)


def targets_for(
    kernel: BlockKernel, targets: Float[Array, "outputs classes"] | None
) -> Float[Array, "outputs classes"]:
    """The targets given, checked against the kernel's number of classes; the identity where none are given."""
    if targets is None:
        return jnp.eye(kernel.classes)
    if targets.shape[1] != kernel.classes:
        raise ValueError(f"targets of {targets.shape[1]} classes do not fit a kernel of {kernel.classes} classes")
    return targets
