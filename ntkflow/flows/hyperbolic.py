"""The end of training, once the class means are fitted: hyperbolic dynamics of W and of what varies within classes."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.flows.riccati import GramPair, gram_pair_at, gram_pair_limit
from ntkflow.flows.states import ClassState, within_basis
from ntkflow.kernels import BlockKernel


class HyperbolicState(eqx.Module):
    """H₂ (or any factor of S = H₂H₂ᵀ) and W. The flow of S and W is the same for every factor."""

    within: Float[Array, "features factors"]
    weight: Float[Array, "outputs features"]

    @classmethod
    def from_class_state(cls, state: ClassState) -> HyperbolicState:
        """H₂ and W of a class state; its class means and bias are taken to stand still."""
        return cls(state.within, state.weight)

    @property
    def scatter(self) -> Float[Array, "features features"]:
        """S = H₂H₂ᵀ."""
        return self.within @ self.within.T


class HyperbolicFlow(AbstractSquaredErrorFlow[HyperbolicState]):
    """Ḣ₂ = −μ_single WᵀWH₂/Z,  Ẇ = −mWS/Z with S = H₂H₂ᵀ: the flow (25) where R₁ is held at 0 (paper 3, (44)).

    Ẽ = μ_single WᵀW − mS (45) is constant, and ZṠ = −ẼS − SẼ − 2mS². S(t), WᵀW(t) and the residual's norm are closed
    forms. W(t) and H₂(t) themselves are that up to an orthogonal matrix (from the left on W, from the right on H₂)
    which has none in general; :func:`ntkflow.flows.solve` integrates them.

    R₁ = 0 is not invariant under the full flow unless WSH₁ = 0: :func:`ntkflow.flows.hand_over` bounds what that costs.

    Args:
        kernel: Θʰ; only μ_single > 0 and the sizes matter.
        loss_scale: Z (the paper's text has Z = 1).
    """

    kernel: BlockKernel
    loss_scale: Float[Array, ""]

    def __init__(self, kernel: BlockKernel, *, loss_scale: float | Float[Array, ""]) -> None:
        self.kernel = kernel
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)

    def vector_field(self, t: Float[Array, ""], state: HyperbolicState, args: Any) -> HyperbolicState:
        """The right-hand side over Z."""
        logits = state.weight @ state.within / self.loss_scale
        return HyperbolicState(
            within=-self.kernel.lambda_single * (state.weight.T @ logits),
            weight=-self.kernel.per_class * (logits @ state.within.T),
        )

    def residual(self, state: HyperbolicState) -> Float[Array, "outputs samples"]:
        """R = √m WH₂Q₂ᵀ, in the basis of :func:`ntkflow.flows.within_basis`.

        Raises:
            ValueError: H₂ does not have C(m − 1) columns, so that it is a factor of S without samples of its own.
        """
        m, classes = self.kernel.per_class, self.kernel.classes
        outputs, factors = state.weight.shape[0], state.within.shape[1]
        if factors != classes * (m - 1):
            raise ValueError(
                f"H₂ of {factors} columns has no samples: {classes} classes of {m} need {classes * (m - 1)} columns"
            )
        logits = (state.weight @ state.within).reshape(outputs, classes, m - 1)
        return (jnp.sqrt(m) * jnp.einsum("kcj,ji->kci", logits, within_basis(m))).reshape(outputs, classes * m)

    def residual_norms(self, state: HyperbolicState) -> Float[Array, "3"]:
        """0, 0 and √m ‖WH₂‖: the class means are fitted."""
        within = jnp.sqrt(self.kernel.per_class) * jnp.linalg.norm(state.weight @ state.within)
        return jnp.stack([jnp.zeros(()), jnp.zeros(()), within])

    def invariants(self, state: HyperbolicState) -> dict[str, Float[Array, "..."]]:
        """Ẽ of (45), n×n.

        (27) is the same statement: E_eot = WᵀW − HHᵀ/μ_single = (Ẽ − mH₁H₁ᵀ)/μ_single, and H₁ stands still here.
        """
        feature_gram, weight_gram = self._grams(state)
        return {"Ẽ": weight_gram - feature_gram}

    def scatter_at(
        self, state: HyperbolicState, times: Float[Array, " times"]
    ) -> Float[Array, "times features features"]:
        """S(t) in closed form, from the state at time 0; stable for every sign of Ẽ's eigenvalues."""
        return self.grams_at(state, times).feature_gram / self.kernel.per_class

    def weight_gram_at(
        self, state: HyperbolicState, times: Float[Array, " times"]
    ) -> Float[Array, "times features features"]:
        """WᵀW(t) in closed form."""
        return self.grams_at(state, times).weight_gram / self.kernel.lambda_single

    def within_norm_at(self, state: HyperbolicState, times: Float[Array, " times"]) -> Float[Array, " times"]:
        """√m ‖WH₂‖_F(t), the norm of the residual, in closed form: its square is Tr(mS WᵀW)."""
        # Rounding may take the trace of two positive semi-definite matrices below 0.
        return jnp.sqrt(jnp.maximum(self.grams_at(state, times).overlap / self.kernel.lambda_single, 0.0))

    def limit(
        self, state: HyperbolicState
    ) -> tuple[Float[Array, "features features"], Float[Array, "features features"]]:
        """S(∞) = Ẽ₋/m and WᵀW(∞) = Ẽ₊/μ_single, the negative and the positive part of Ẽ, whatever the rank of S(0)."""
        feature_gram, weight_gram = gram_pair_limit(*self._grams(state))
        return feature_gram / self.kernel.per_class, weight_gram / self.kernel.lambda_single

    def grams_at(self, state: HyperbolicState, times: Float[Array, " times"]) -> GramPair:
        """mS, μ_single WᵀW and the trace of their product at all times, from one eigendecomposition of Ẽ."""
        return gram_pair_at(*self._grams(state), times / self.loss_scale)

    def _grams(
        self, state: HyperbolicState
    ) -> tuple[Float[Array, "features features"], Float[Array, "features features"]]:
        return self.kernel.per_class * state.scatter, self.kernel.lambda_single * (state.weight.T @ state.weight)
