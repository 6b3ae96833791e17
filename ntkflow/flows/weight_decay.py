"""Weight decay on the readout and on the features, and what it does to the invariant."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.flows.class_means import ClassFlow
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.invariant_law import AbstractInvariantLawFlow
from ntkflow.flows.states import ClassState


class WeightDecayFlow(AbstractInvariantLawFlow):
    """The class flow (25) with decay: Ḣ = … − λ_H H,  Ẇ = … − λ_W W,  ḃ = … − λ_b b, where … is (25) over Z.

    The features decay directly, not through the kernel. That makes it the gradient flow, in the metric K for the
    features, of ‖R‖²/(2Z) + (λ_W/2)‖W‖² + (λ_b/2)‖b‖² + (λ_H/2) Tr HK⁻¹Hᵀ. For a block kernel K = κI this is the
    unconstrained-features model with the penalty (λ_H/(2κ))‖H‖². Weight decay δ of all parameters of a network, θ̇ =
    −∇L − δθ, gives λ_W = λ_b = δ, and λ_H = pδ if the features are homogeneous of degree p in the parameters below the
    readout (Euler); else the features' term is −δ(∂h/∂θ)θ, which is no multiple of H.

    With constant κ, Ė = −2λ_H E − 2(λ_W − λ_H) WᵀW/m. So E(t) = E(0) exp(−2λt) where λ_W = λ_H = λ, whatever λ_b is.

    Args:
        flow: the class flow without decay; its kernel needs μ_class > 0 and μ_single > 0 for E and, with λ_H > 0, for
            the loss.
        weight: λ_W ≥ 0, in units of one over gradient-flow time of the flow's Z, as the other two.
        bias: λ_b ≥ 0.
        features: λ_H ≥ 0.

    Raises:
        ValueError: a decay that is negative or not finite.
    """

    flow: ClassFlow
    loss_scale: Float[Array, ""]
    weight_decay: Float[Array, ""]
    bias_decay: Float[Array, ""]
    feature_decay: Float[Array, ""]

    def __init__(
        self,
        flow: ClassFlow,
        *,
        weight: float | Float[Array, ""],
        bias: float | Float[Array, ""] = 0.0,
        features: float | Float[Array, ""] = 0.0,
    ) -> None:
        for name, value in (("weight", weight), ("bias", bias), ("feature", features)):
            if not isinstance(value, Tracer) and not 0 <= float(value) < math.inf:
                raise ValueError(f"{name} decay must be at least 0 and finite, not {value}")
        self.flow = flow
        self.loss_scale = flow.loss_scale
        self.weight_decay = jnp.asarray(weight, dtype=float)
        self.bias_decay = jnp.asarray(bias, dtype=float)
        self.feature_decay = jnp.asarray(features, dtype=float)

    def vector_field(self, t: Float[Array, ""], state: ClassState, args: Any) -> ClassState:
        """(25) over Z, minus the decay."""
        field = self.flow.vector_field(t, state, args)
        return ClassState(
            class_means=field.class_means - self.feature_decay * state.class_means,
            within=field.within - self.feature_decay * state.within,
            weight=field.weight - self.weight_decay * state.weight,
            bias=field.bias - self.bias_decay * state.bias,
        )

    def loss(self, state: ClassState) -> Float[Array, ""]:
        """‖R‖²/(2Z) with the penalties; Tr HK⁻¹Hᵀ is m times the trace of the feature side of (26)."""
        sides = InvariantSides.of(state, self.flow.kernel)
        of_features = self.flow.kernel.per_class * jnp.trace(sides.feature_side)
        # Without decay of the features the kernel may be singular, and 0 times infinity is no number.
        of_features = jnp.where(self.feature_decay > 0, self.feature_decay * of_features, 0.0)
        of_weight = self.weight_decay * jnp.sum(state.weight**2)
        of_bias = self.bias_decay * jnp.sum(state.bias**2)
        return self.flow.loss(state) + (of_features + of_weight + of_bias) / 2

    def invariant(self, t: Float[Array, ""], state: ClassState) -> Float[Array, "dims dims"]:
        """E of (26)."""
        return InvariantSides.of(state, self.flow.kernel).invariant

    def invariant_rate(self, t: Float[Array, ""], state: ClassState) -> Float[Array, "dims dims"]:
        """Ė = −2λ_W WᵀW/m + 2λ_H (feature side) = −2λ_H E − 2(λ_W − λ_H) WᵀW/m."""
        sides = InvariantSides.of(state, self.flow.kernel)
        return 2 * (self.feature_decay * sides.feature_side - self.weight_decay * sides.weight_side)

    def resting_fit(self) -> Float[Array, ""]:
        """φ = max(0, 1 − Z√(λ_W λ_H/(m μ_class))): at rest WH₁ = φ(I − 11ᵀ/C), for λ_b = 0 and one-hot targets.

        Holds at the rest state with all C − 1 directions fitted, with λ_W and λ_H both positive. There b = 1/C, ⟨h⟩ =
        0, S = 0 and WᵀW/m = (λ_H/λ_W) H₁H₁ᵀ/μ_class, which is neural collapse. With φ = 0 it is W = H = 0.
        """
        kernel = self.flow.kernel
        shortfall = jnp.sqrt(self.weight_decay * self.feature_decay / (kernel.per_class * kernel.lambda_class))
        return jnp.maximum(0.0, 1 - self.loss_scale * shortfall)
