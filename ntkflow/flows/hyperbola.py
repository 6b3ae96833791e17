"""One weight and one feature at the end of training: a point on a hyperbola, in elementary functions."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Hyperbola(eqx.Module):
    """ẇ = −m w h²/Z,  ḣ = −μ w² h/Z: the hyperbolic flow with one feature, one output and one within-class direction.

    ε = μw² − mh² is constant, so the point (√μ w, √m h) moves on a hyperbola, or, for ε = 0, on a line into the origin.
    With s = h², ṡ = −(2εs + 2ms²)/Z. It ends on the axis of w for ε > 0 (w² = ε/μ, s = 0: collapse), on the axis of h
    for ε < 0 (w = 0, s = −ε/m: none), and for ε = 0 in the origin, where 1/s grows by 2m/Z per unit of time.

    Args:
        mu_single: μ = κ_d − κ_c, positive.
        per_class: m, positive.
        loss_scale: Z.
    """

    mu_single: Float[Array, ""]
    per_class: Float[Array, ""]
    loss_scale: Float[Array, ""]

    def __init__(
        self,
        *,
        mu_single: float | Float[Array, ""],
        per_class: float | Float[Array, ""],
        loss_scale: float | Float[Array, ""],
    ) -> None:
        self.mu_single = jnp.asarray(mu_single, dtype=float)
        self.per_class = jnp.asarray(per_class, dtype=float)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)

    def invariant(self, weight: Float[Array, "..."], feature: Float[Array, "..."]) -> Float[Array, "..."]:
        """ε = μw² − mh², as a product: near ε = 0 the difference of the squares would lose digits."""
        first, second = jnp.sqrt(self.mu_single) * weight, jnp.sqrt(self.per_class) * feature
        return (first - second) * (first + second)

    def at(
        self, weight: Float[Array, ""], feature: Float[Array, ""], times: Float[Array, "..."]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """(w(t), h(t)) from the values at time 0, exact for every sign of ε.

        For ε ≥ 0: w = w₀/√D and h = h₀e^{−εt/Z}/√D, D = 1 + 2m h₀²K, K = (1 − e^{−2εt/Z})/(2ε), at ε = 0 its limit t/Z.
        For ε < 0 the two change their parts: h = h₀/√D and w = w₀e^{εt/Z}/√D, D = 1 + 2μw₀²K, with |ε| in K.
        """
        invariant, elapsed = self.invariant(weight, feature), times / self.loss_scale
        size = jnp.abs(invariant)
        x = 2 * size * elapsed
        near = x < 1e-5
        integral = elapsed * jnp.where(near, 1 - x / 2 + x**2 / 6, -jnp.expm1(-x) / jnp.where(near, 1.0, x))
        # What decays to 0 is the side with the smaller of μw² and mh²; its start sets the pace.
        smaller = jnp.where(invariant < 0, self.mu_single * weight**2, self.per_class * feature**2)
        common = 1 / jnp.sqrt(1 + 2 * smaller * integral)
        decay = jnp.exp(-size * elapsed)
        weight_factor = jnp.where(invariant < 0, decay, 1.0) * common
        feature_factor = jnp.where(invariant < 0, 1.0, decay) * common
        return weight * weight_factor, feature * feature_factor

    def limit(self, weight: Float[Array, ""], feature: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """(w(∞)², s(∞)) = (max(ε, 0)/μ, max(−ε, 0)/m)."""
        invariant = self.invariant(weight, feature)
        return jnp.maximum(invariant, 0.0) / self.mu_single, jnp.maximum(-invariant, 0.0) / self.per_class
