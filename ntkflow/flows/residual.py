"""The residual alone under a constant block kernel Θ: linear, and so in closed form (paper 3, section 4.1)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.flows.spectral_factors import descent_factors, flow_factors
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

    @property
    def rates(self) -> Float[Array, "3"]:
        """λ/Z of the three parts."""
        return self.kernel.eigenvalues / self.loss_scale

    def vector_field(
        self, t: Float[Array, ""], state: Float[Array, "outputs samples"], args: Any
    ) -> Float[Array, "outputs samples"]:
        """−RK/Z."""
        return -self.kernel.apply(state) / self.loss_scale

    def factors_at(self, time: float | Float[Array, ""]) -> Float[Array, "3"]:
        """exp(−λt/Z): what the flow multiplies each of the three parts by until ``time``."""
        return flow_factors(self.rates, time)

    def factors_after_steps(
        self, step_size: float | Float[Array, ""], steps: int | Float[Array, ""], momentum: float = 0.0
    ) -> Float[Array, "3"]:
        """What k steps of gradient descent multiply each of the three parts by.

        (1 − ηλ/Z)^k, (13)–(15) iterated; with the momentum β of v ← βv − η∇L, θ ← θ + v, from v = 0, the factor of
        :func:`ntkflow.flows.descent_factors`. Raises ``ValueError`` for a β outside [0, 1).
        """
        return descent_factors(step_size * self.rates, steps, momentum)

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
        momentum: float = 0.0,
    ) -> Float[Array, "outputs samples"]:
        """R(0) p_k(ηK/Z) after k steps of gradient descent, exact; (I − ηK/Z)^k without momentum."""
        return self.kernel.function(lambda _: self.factors_after_steps(step_size, steps, momentum)).apply(initial)

    def step_limit(self, momentum: float = 0.0) -> float:
        """2(1 + β)Z/λ_max, λ_max = λ_global for an ordered kernel: beyond this step gradient descent diverges."""
        return (1 + momentum) * step_limit(self.kernel, float(self.loss_scale))

    def residual(self, state: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """The state itself."""
        return state

    def residual_norms(self, state: Float[Array, "outputs samples"]) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return split_eigenspaces(state, self.kernel.classes).norms()

    def invariants(self, state: Float[Array, "outputs samples"]) -> dict[str, Float[Array, "..."]]:
        """None."""
        return {}
