"""The tangent kernel of a wide random network at every depth, from its mean-field profile: κ₁ and κ₂ of paper 1."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntkflow.initialization.depth_profile import DepthProfile


class TangentByDepth(eqx.Module):
    """Θ*(x_s, x_s), Θ*(x_r, x_r) and Θ*(x_s, x_r) of the networks of depth 1, …, L with these first widths.

    Attributes:
        log_own_s: ln Θ*(x_s, x_s).
        log_own_r: ln Θ*(x_r, x_r).
        correlation: Θ*(x_s, x_r)/√(Θ*(x_s, x_s)Θ*(x_r, x_r)).
        log_alpha: ln αM = ln Σ_{l=1}^{L−1} M_l M_{l−1}/M, in the unit in which widths are given; −∞ at depth 1.
    """

    log_own_s: Float[Array, "depth *pairs"]
    log_own_r: Float[Array, "depth *pairs"]
    correlation: Float[Array, "depth *pairs"]
    log_alpha: Float[Array, " depth"]

    @property
    def kappa_1(self) -> Float[Array, "depth *pairs"]:
        """κ₁(x_s) = Θ*(x_s, x_s)/(αM) (Lemma 2); overflows where ln κ₁ > 709; ∞ at depth 1, where α is 0."""
        return jnp.exp(self.log_own_s - self._aligned())

    @property
    def kappa_2(self) -> Float[Array, "depth *pairs"]:
        """κ₂(x_s, x_r) = Θ*(x_s, x_r)/(αM) (Lemma 2)."""
        size = jnp.exp((self.log_own_s + self.log_own_r) / 2 - self._aligned())
        return jnp.where(self.correlation == 0, 0.0, size * self.correlation)

    @property
    def ratio(self) -> Float[Array, "depth *pairs"]:
        """κ₁(x_s)/κ₂(x_s, x_r), which has no overflow in it; ∞ where κ₂ is 0."""
        return jnp.exp((self.log_own_s - self.log_own_r) / 2) / self.correlation

    def _aligned(self) -> Float[Array, "depth *ones"]:
        return self.log_alpha.reshape(-1, *(1,) * (self.log_own_s.ndim - 1))


def tangent_by_depth(
    profile: DepthProfile, widths: Sequence[float] | None = None, *, biases: bool = False
) -> TangentByDepth:
    """Lemma 2 of paper 1 for every depth up to that of the profile, in the standard parametrisation:

    Θ* = Σ_{l=1}^L M_{l−1} q̂_sr^{l−1} p_sr^l, which is αMκ; with ``biases`` + Σ_l p_sr^l, the gradients of the biases, a
    share of 1/M that the lemma leaves out. Exactly what ``FullyConnectedKernel`` gives with
    ``parametrization="standard"``, which has the biases in it.

    Args:
        profile: of L layers, from :func:`depth_profile`.
        widths: M₀, …, M_{L−1}, from the inputs on; or α_l = M_l/M, which gives κ just so. All 1 unless given.
        biases: whether biases are parameters; needs true widths.

    Raises:
        ValueError: widths that are not L positive numbers.
    """
    depth = profile.depth
    given = (1.0,) * depth if widths is None else tuple(float(width) for width in widths)
    if len(given) != depth or not all(0 < width < float("inf") for width in given):
        raise ValueError(
            f"a network of depth {depth} needs {depth} positive widths, from the inputs' M₀ to the last hidden "
            f"layer's, not {given}"
        )
    return _tangents(profile, jnp.asarray(given, profile.gap.dtype), jnp.asarray(float(biases), profile.gap.dtype))


@eqx.filter_jit
def _tangents(profile: DepthProfile, widths: Array, bias: Array) -> TangentByDepth:
    log_width = jnp.log(widths).reshape(-1, *(1,) * (profile.gap.ndim - 1))
    log_bias = jnp.log(bias)

    def own(log_moment: Array) -> tuple[Array, Array]:
        """ln of a layer's own term with biases, and the share of the weights in it."""
        weights = log_width + log_moment
        total = jnp.logaddexp(weights, log_bias)
        return total, weights

    own_s, weights_s = own(profile.log_moment_s)
    own_r, weights_r = own(profile.log_moment_r)
    mean = (own_s + own_r) / 2
    by_weights = jnp.exp((weights_s + weights_r) / 2 - mean) * (1 - profile.moment_gap)
    own_correlation = by_weights + jnp.exp(log_bias - mean)

    def layer(state: tuple[Array, ...], terms: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        theta_s, theta_r, correlation = state
        new_s, new_r, new_correlation, chi_s, chi_r, chi_correlation = terms
        back_s, back_r = theta_s + chi_s, theta_r + chi_r
        total_s, total_r = jnp.logaddexp(new_s, back_s), jnp.logaddexp(new_r, back_r)
        size = (total_s + total_r) / 2
        mixed = jnp.exp((new_s + new_r) / 2 - size) * new_correlation
        mixed = mixed + jnp.exp((back_s + back_r) / 2 - size) * correlation * chi_correlation
        return (total_s, total_r, mixed), (total_s, total_r, mixed)

    first = own_s[0], own_r[0], own_correlation[0]
    later = (
        own_s[1:],
        own_r[1:],
        own_correlation[1:],
        profile.log_chi_s,
        profile.log_chi_r,
        profile.chi_correlation,
    )
    _, rest = lax.scan(layer, first, later)
    made = [jnp.concatenate([start[None], of]) for start, of in zip(first, rest, strict=True)]
    pairs = jnp.cumsum(widths[1:] * widths[:-1])
    log_alpha = jnp.log(jnp.concatenate([jnp.zeros_like(widths[:1]), pairs]))
    return TangentByDepth(made[0], made[1], made[2], log_alpha)
