"""The flow of a network that is linear in its parameters: its residual under the whole Θ of one moment."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.kernels import AbstractKernelOperator, TangentKernel, split_eigenspaces


class LinearizedFlow(AbstractSquaredErrorFlow[Array]):
    """Ṙ = −Θ[R]/Z with the whole Θ of all outputs and samples, constant in time.

    That is gradient flow of f_lin(x; θ) = f(x; θ₀) + ∇f(x; θ₀)(θ − θ₀), the first-order expansion of the network about
    its parameters θ₀ (Lee et al. 2019; thesis, section 2.3). Where :class:`ntkflow.flows.FrozenKernelFlow` lets W and H
    move together, so that Θ changes with them, here nothing of Θ changes.

    Args:
        kernel: Θ of the logits.
        classes: C, into which the samples are sorted, the same number of each.
        loss_scale: Z.

    Raises:
        ValueError: the kernel of the features.
    """

    kernel: AbstractKernelOperator
    classes: int = eqx.field(static=True)
    loss_scale: Float[Array, ""]

    def __init__(self, kernel: AbstractKernelOperator, *, classes: int, loss_scale: float | Float[Array, ""]) -> None:
        if isinstance(kernel, TangentKernel) and kernel.of != "logits":
            raise ValueError(f"a linearised network's flow needs the kernel of the logits, not of the {kernel.of}")
        self.kernel = kernel
        self.classes = classes
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)

    def vector_field(
        self, t: Float[Array, ""], state: Float[Array, "outputs samples"], args: Any
    ) -> Float[Array, "outputs samples"]:
        """−Θ[R]/Z."""
        return -self.kernel.apply(state) / self.loss_scale

    def residual(self, state: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """The state itself."""
        return state

    def residual_norms(self, state: Float[Array, "outputs samples"]) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return split_eigenspaces(state, self.classes).norms()

    def invariants(self, state: Float[Array, "outputs samples"]) -> dict[str, Float[Array, "..."]]:
        """None."""
        return {}
