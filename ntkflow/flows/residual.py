"""The residual alone under a constant block kernel Θ: linear, and so in closed form (paper 3, section 4.1)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.kernels import BlockKernel, split_eigenspaces, step_limit


class ResidualFlow(AbstractSquaredErrorFlow[Array]):
    """Ṙ = −RK/Z, the flow behind (9)–(15): each part of R decays at its own eigenvalue over Z.

    Args:
        kernel: Θ of each output, (γ_d, γ_c, γ_n); between two outputs it is zero (Assumption 3.2).
        loss_scale: Z.
    """

    kernel: BlockKernel
    loss_scale: Float[Array, ""]

    def __init__(self, kernel: BlockKernel, *, loss_scale: float | Float[Array, ""]) -> None:
        self.kernel = kernel
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)

    def vector_field(
        self, t: Float[Array, ""], state: Float[Array, "outputs samples"], args: Any
    ) -> Float[Array, "outputs samples"]:
        """−RK/Z."""
        return -self.kernel.apply(state) / self.loss_scale

    def factors_at(self, time: float | Float[Array, ""]) -> Float[Array, "3"]:
        """exp(−λt/Z): what the flow multiplies each of the three parts by until ``time``."""
        return jnp.exp(-time * self.kernel.eigenvalues / self.loss_scale)

    def factors_after_steps(
        self, step_size: float | Float[Array, ""], steps: int | Float[Array, ""]
    ) -> Float[Array, "3"]:
        """(1 − ηλ/Z)^k: what k steps of gradient descent multiply each of the three parts by, (13)–(15) iterated."""
        return (1 - step_size * self.kernel.eigenvalues / self.loss_scale) ** steps

    def at(
        self, initial: Float[Array, "outputs samples"], time: float | Float[Array, ""]
    ) -> Float[Array, "outputs samples"]:
        """R(t) = R(0) exp(−tK/Z), exact."""
        return self.kernel.function(lambda _: self.factors_at(time)).apply(initial)

    def after_steps(
        self,
        initial: Float[Array, "outputs samples"],
        step_size: float | Float[Array, ""],
        steps: int | Float[Array, ""],
    ) -> Float[Array, "outputs samples"]:
        """R(0) (I − ηK/Z)^k after k steps of gradient descent, exact."""
        return self.kernel.function(lambda _: self.factors_after_steps(step_size, steps)).apply(initial)

    def step_limit(self) -> float:
        """2Z/λ_global: beyond this step gradient descent diverges."""
        return step_limit(self.kernel, float(self.loss_scale))

    def residual(self, state: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """The state itself."""
        return state

    def residual_norms(self, state: Float[Array, "outputs samples"]) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return split_eigenspaces(state, self.kernel.classes).norms()

    def invariants(self, state: Float[Array, "outputs samples"]) -> dict[str, Float[Array, "..."]]:
        """None."""
        return {}
