"""The flow under a Θʰ of any form, held at its value of one moment: the upper rungs of the assumption ladder."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.flows.sample import sample_residual
from ntkflow.flows.states import SampleState
from ntkflow.kernels import AbstractKernelOperator, MeanTangentKernel, TangentKernel, split_eigenspaces


class FrozenKernelFlow(AbstractSquaredErrorFlow[SampleState]):
    """Ḣ = −Θʰ[WᵀR]/Z,  Ẇ = −RHᵀ/Z,  ḃ = −R1/Z, with Θʰ over all pairs of features and samples, constant in time.

    Follows from paper 3, (35), without Assumption 3.2. With the :class:`ntkflow.kernels.TangentKernel` of a network the
    only approximation is that Θʰ does not change; that kernel is applied through the network and never formed. Other
    operators leave something of Θʰ out. One number is conserved where Θʰ is positive definite, ‖W‖² − ⟨H, (Θʰ)⁻¹H⟩; it
    takes a linear system of n·N unknowns and is not computed.

    Args:
        kernel: Θʰ as an operator on features × samples.
        targets: column c is the target of the samples of class c.
        loss_scale: Z.

    Raises:
        ValueError: the kernel of the logits.
    """

    kernel: AbstractKernelOperator
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]

    def __init__(
        self,
        kernel: AbstractKernelOperator,
        *,
        targets: Float[Array, "outputs classes"],
        loss_scale: float | Float[Array, ""],
    ) -> None:
        refuse_logits(kernel)
        self.kernel = kernel
        self.targets = targets
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)

    def vector_field(self, t: Float[Array, ""], state: SampleState, args: Any) -> SampleState:
        """The right-hand side."""
        residual = self.residual(state) / self.loss_scale
        return SampleState(
            features=-self.kernel.apply(state.weight.T @ residual),
            weight=-residual @ state.features.T,
            bias=-jnp.sum(residual, axis=1),
        )

    def residual(self, state: SampleState) -> Float[Array, "outputs samples"]:
        """R = WH + b1ᵀ − Y."""
        return sample_residual(state, self.targets)

    def residual_norms(self, state: SampleState) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return split_eigenspaces(self.residual(state), self.targets.shape[1]).norms()

    def invariants(self, state: SampleState) -> dict[str, Float[Array, "..."]]:
        """None that is cheap to compute; see the class."""
        return {}


def refuse_logits(kernel: AbstractKernelOperator) -> None:
    """Raise ``ValueError`` for the kernel of a network's logits where that of its features is needed."""
    if isinstance(kernel, TangentKernel | MeanTangentKernel) and kernel.of != "features":
        raise ValueError(f"a frozen-kernel flow needs the kernel of the features, not of the {kernel.of}")
