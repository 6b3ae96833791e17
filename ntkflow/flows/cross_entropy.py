"""Gradient flow of the softmax cross-entropy under a block-structured kernel."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractFlow
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.sample import targets_for
from ntkflow.flows.states import ClassState, SampleState
from ntkflow.kernels import BlockKernel, split_eigenspaces


class CrossEntropyFlow(AbstractFlow[SampleState]):
    """Ḣ = −WᵀRK/Z,  Ẇ = −RHᵀ/Z,  ḃ = −R1/Z, with R = softmax(WH + b1ᵀ) − Y.

    The gradient flow of the loss −(1/Z) Σ_i y_iᵀ log softmax(Wh_i + b), under the assumption on Θʰ of paper 3, (19): K
    is one block kernel, the same for every feature and zero between two. softmax does not commute with averages over a
    class, so there is no exact class form; a right-hand side costs O(nCN). With one-hot labels the loss has no minimum:
    it tends to 0 only where logits grow without bound.

    Args:
        kernel: Θʰ, (κ_d, κ_c, κ_n).
        loss_scale: Z.
        targets: column c the label distribution of the samples of class c, not negative and of sum 1; the identity for
            one-hot labels.

    Raises:
        ValueError: targets for another number of classes than the kernel's, or that are no distributions.
    """

    kernel: BlockKernel
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]
    has_invariant: bool = eqx.field(static=True)

    def __init__(
        self,
        kernel: BlockKernel,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
    ) -> None:
        self.kernel = kernel
        self.targets = distributions_for(kernel, targets)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.has_invariant = _positive_definite(kernel)

    def vector_field(self, t: Float[Array, ""], state: SampleState, args: Any) -> SampleState:
        """The right-hand side."""
        residual = self.residual(state) / self.loss_scale
        return SampleState(
            features=-state.weight.T @ self.kernel.apply(residual),
            weight=-residual @ state.features.T,
            bias=-jnp.sum(residual, axis=1),
        )

    def residual(self, state: SampleState) -> Float[Array, "outputs samples"]:
        """R = softmax(WH + b1ᵀ) − Y."""
        return softmax_residual(_logits(state), self.targets)

    def residual_norms(self, state: SampleState) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return split_eigenspaces(self.residual(state), self.kernel.classes).norms()

    def loss(self, state: SampleState) -> Float[Array, ""]:
        """The sum over samples of the cross-entropy, over Z."""
        return cross_entropy(_logits(state), self.targets) / self.loss_scale

    def invariants(self, state: SampleState) -> dict[str, Float[Array, "..."]]:
        """E of (26), n×n, where the kernel is positive definite; the sums over outputs of W, (n), and of b.

        That E is conserved needs nothing of R. The sums are, because every column of R sums to zero.
        """
        sums = {"weight_sum": jnp.sum(state.weight, axis=0), "bias_sum": jnp.sum(state.bias)}
        if not self.has_invariant:
            return sums
        return {"E": InvariantSides.of(state, self.kernel).invariant, **sums}

    def class_state(self, state: SampleState) -> ClassState:
        """H₁, H₂, W, b by (23)."""
        return ClassState.from_sample(state, self.kernel.classes)

    def sample_state(self, state: SampleState) -> SampleState:
        """The state itself."""
        return state


class CrossEntropyOutputFlow(AbstractFlow[Array]):
    """ḟ = −(softmax(f) − Y)K/Z: the outputs alone, C×N, under a constant block kernel Θ.

    The cross-entropy's twin of :class:`ntkflow.flows.ResidualFlow`; not linear, so without a closed form in general.

    Args:
        kernel: Θ of each output, (γ_d, γ_c, γ_n); between two outputs it is zero (Assumption 3.2).
        loss_scale: Z.
        targets: as in :class:`ntkflow.flows.CrossEntropyFlow`.

    Raises:
        ValueError: targets for another number of classes than the kernel's, or that are no distributions.
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
        self.targets = distributions_for(kernel, targets)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)

    def vector_field(
        self, t: Float[Array, ""], state: Float[Array, "outputs samples"], args: Any
    ) -> Float[Array, "outputs samples"]:
        """−(softmax(f) − Y)K/Z."""
        return -self.kernel.apply(self.residual(state)) / self.loss_scale

    def residual(self, state: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """R = softmax(f) − Y."""
        return softmax_residual(state, self.targets)

    def residual_norms(self, state: Float[Array, "outputs samples"]) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return split_eigenspaces(self.residual(state), self.kernel.classes).norms()

    def loss(self, state: Float[Array, "outputs samples"]) -> Float[Array, ""]:
        """The sum over samples of the cross-entropy, over Z."""
        return cross_entropy(state, self.targets) / self.loss_scale

    def invariants(self, state: Float[Array, "outputs samples"]) -> dict[str, Float[Array, "..."]]:
        """The sum of the outputs of every sample, (N)."""
        return {"output_sums": jnp.sum(state, axis=0)}


def softmax_residual(
    logits: Float[Array, "outputs samples"], targets: Float[Array, "outputs classes"]
) -> Float[Array, "outputs samples"]:
    """softmax p of each column minus its class's target; samples sorted by class."""
    return softmax_difference(logits, _per_sample(logits, targets))


def cross_entropy(
    logits: Float[Array, "outputs samples"], targets: Float[Array, "outputs classes"]
) -> Float[Array, ""]:
    """−Σ_i y_iᵀ log softmax(f_i), over samples sorted by class."""
    return cross_entropy_of(logits, _per_sample(logits, targets))


def softmax_difference(
    logits: Float[Array, "outputs samples"], labels: Float[Array, "outputs samples"]
) -> Float[Array, "outputs samples"]:
    """softmax p of each column minus its target y, as (1 − y)p − y(1 − p), with 1 − p the sum of the others.

    p − 1 of a label that is nearly certain would be all rounding; so R keeps its digits as it goes to 0.
    """
    share = jax.nn.softmax(logits, axis=0)
    others = (1 - jnp.eye(logits.shape[0])) @ share
    return (1 - labels) * share - labels * others


def cross_entropy_of(
    logits: Float[Array, "outputs samples"], labels: Float[Array, "outputs samples"]
) -> Float[Array, ""]:
    """−Σ_i y_iᵀ log softmax(f_i), a target for every sample."""
    return -jnp.sum(labels * jax.nn.log_softmax(logits, axis=0))


def distributions_for(
    kernel: BlockKernel, targets: Float[Array, "outputs classes"] | None
) -> Float[Array, "outputs classes"]:
    """The targets given, or the identity. Raises ``ValueError`` if their number is wrong or one is no distribution."""
    targets = targets_for(kernel, targets)
    if not isinstance(targets, Tracer):
        check_distributions(np.asarray(targets))
    return targets


def check_distributions(targets: np.ndarray) -> None:
    """Raises ``ValueError`` where a column is no distribution."""
    if targets.min() < 0 or np.max(np.abs(targets.sum(axis=0) - 1)) > 1e-12:
        raise ValueError("cross-entropy needs targets that are not negative and sum to 1 over the outputs")


def _positive_definite(kernel: BlockKernel) -> bool:
    """Whether all three eigenvalues that there are exceed 0; taken to be so where they are not known yet."""
    if isinstance(kernel.diagonal, Tracer):
        return True
    pairs = zip(np.asarray(kernel.eigenvalues), kernel.multiplicities, strict=True)
    return all(value > 0 for value, dimension in pairs if dimension > 0)


def _per_sample(
    logits: Float[Array, "outputs samples"], targets: Float[Array, "outputs classes"]
) -> Float[Array, "outputs samples"]:
    return jnp.repeat(targets, logits.shape[1] // targets.shape[1], axis=1)


def _logits(state: SampleState) -> Float[Array, "outputs samples"]:
    return state.weight @ state.features + state.bias[:, None]
