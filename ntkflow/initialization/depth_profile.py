"""Variances, correlations and backpropagated errors of pairs of inputs in every layer, at infinite width."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.initialization.mean_field import MeanField, within
from ntkflow.kernels.infinite import ACCEPTED_ERROR, AbstractQuadratureDual


class DepthProfile(eqx.Module):
    """A network with L layers of weights, the last one linear, at pairs (s, r) of inputs; see :class:`MeanField`.

    What grows or falls exponentially with depth is kept as a logarithm, and of a pair what its members leave open: a
    correlation, or the gap 1 − c to full correlation. So nothing overflows, at any depth; where a logarithm leaves
    ±709 the number itself is no float64. Correlations of backpropagated errors below 10⁻³⁰⁸ are 0.

    Attributes:
        log_variance_s: ln q^ℓ(x_s), ℓ = 1, …, L (5); the last is ln of the variance of the output (Lemma 1).
        log_variance_r: the same of x_r.
        log_moment_s: ln q̂^{ℓ−1}(x_s), ℓ = 1, …, L: of what enters layer ℓ (6), the inputs at first.
        log_moment_r: the same of x_r.
        gap: 1 − c_sr^ℓ, ℓ = 1, …, L (7).
        moment_gap: 1 − q̂_sr^{ℓ−1}/√(q̂_s q̂_r), ℓ = 1, …, L.
        log_chi_s: ln χ₁^ℓ(x_s), ℓ = 1, …, L − 1.
        log_chi_r: the same of x_r.
        chi_correlation: E[φ'(u)φ'(v)]/√(E[φ'(u)²]E[φ'(v)²]), ℓ = 1, …, L − 1.
    """

    log_variance_s: Float[Array, "depth *pairs"]
    log_variance_r: Float[Array, "depth *pairs"]
    log_moment_s: Float[Array, "depth *pairs"]
    log_moment_r: Float[Array, "depth *pairs"]
    gap: Float[Array, "depth *pairs"]
    moment_gap: Float[Array, "depth *pairs"]
    log_chi_s: Float[Array, "hidden *pairs"]
    log_chi_r: Float[Array, "hidden *pairs"]
    chi_correlation: Float[Array, "hidden *pairs"]

    @property
    def depth(self) -> int:
        """L."""
        return self.gap.shape[0]

    @property
    def correlation(self) -> Float[Array, "depth *pairs"]:
        """c_sr^ℓ."""
        return 1 - self.gap

    @property
    def log_error_s(self) -> Float[Array, "depth *pairs"]:
        """ln p^ℓ(x_s) = Σ_{k=ℓ}^{L−1} ln χ₁^k, ℓ = 1, …, L: of E Σ_i (δ_i^ℓ)², with p^L = 1 (8)."""
        return _from_the_end(self.log_chi_s)

    @property
    def log_error_r(self) -> Float[Array, "depth *pairs"]:
        """The same of x_r."""
        return _from_the_end(self.log_chi_r)

    @property
    def error_correlation(self) -> Float[Array, "depth *pairs"]:
        """p_sr^ℓ/√(p_s^ℓ p_r^ℓ), ℓ = 1, …, L (9)."""
        ones = jnp.ones_like(self.gap[:1])
        return jnp.concatenate([jnp.cumprod(self.chi_correlation[::-1], axis=0)[::-1], ones])


def depth_profile(
    mean_field: MeanField,
    depth: int,
    *,
    moment_s: float | Float[Array, "*#pairs"] = 1.0,
    moment_r: float | Float[Array, "*#pairs"] | None = None,
    gap: float | Float[Array, "*#pairs"] = 0.0,
) -> DepthProfile:
    """The recursions (5)–(9) of paper 1, (2.30) and (2.31) of the thesis, through a network.

    The errors p go without widths: with weights of variance σ_w²/M_{ℓ−1} they cancel. Paper 1's (8) and (9) have a
    factor M_{ℓ+1}/M_{ℓ+2} there, which is 1 for constant widths and belongs to no scaling of weights for others; see
    docs/errata.md.

    Args:
        mean_field: the network.
        depth: L ≥ 1, layers of weights; L − 1 of them are hidden.
        moment_s: q̂⁰ = ‖x_s‖²/M₀ > 0.
        moment_r: of x_r; that of x_s unless given.
        gap: 1 − ⟨x_s, x_r⟩/(‖x_s‖‖x_r‖) of the inputs, in [0, 2].

    Raises:
        ValueError: arguments outside their ranges, or an activation whose quadrature is off at these variances. Inside
            ``jax.jit`` values are not looked at.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, not {depth}")
    dtype = mean_field.sigma_w.dtype
    s = jnp.asarray(moment_s, dtype)
    r = s if moment_r is None else jnp.asarray(moment_r, dtype)
    apart = jnp.asarray(gap, dtype)
    if not any(isinstance(value, Tracer) for value in (s, r, apart)):
        for name, value in (("moment_s", s), ("moment_r", r)):
            if not bool(jnp.all((value > 0) & jnp.isfinite(value))):
                raise ValueError(f"{name} must be positive: the direction of an input of 0 is undefined")
        if not bool(jnp.all((apart >= 0) & (apart <= 2))):
            raise ValueError("gap must be between 0 (equal directions) and 2 (opposite ones)")
    shape = jnp.broadcast_shapes(s.shape, r.shape, apart.shape)
    found = _profile(
        mean_field, depth, jnp.broadcast_to(s, shape), jnp.broadcast_to(r, shape), jnp.broadcast_to(apart, shape)
    )
    if not isinstance(found.gap, Tracer):
        _require_accurate(mean_field, found)
    return found


@eqx.filter_jit
def _profile(mean_field: MeanField, depth: int, moment_s: Array, moment_r: Array, gap: Array) -> DepthProfile:
    def affine(log_s: Array, log_r: Array, moment_gap: Array) -> tuple[Array, Array, Array]:
        return mean_field.affine(log_s), mean_field.affine(log_r), mean_field.affine_gap(moment_gap, log_s, log_r)

    def hidden(state: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
        q_s, q_r, gap = state
        # One call for the pair and for either input with itself: a quadrature's program is large.
        alone = jnp.zeros_like(gap)
        left, right = jnp.stack([q_s, q_s, q_r]), jnp.stack([q_r, q_s, q_r])
        step = mean_field.log_pair_map(left, right, jnp.stack([gap, alone, alone]))
        chi, chi_s, chi_r = step.chi
        size = jnp.sqrt(chi_s) * jnp.sqrt(chi_r)
        correlation = jnp.where(size > 0, chi / jnp.where(size > 0, size, 1.0), 0.0)
        log_s, log_r = mean_field.log_second_moment(q_s), mean_field.log_second_moment(q_r)
        after = affine(log_s, log_r, step.activation_gap[0])
        made = (*after[:2], log_s, log_r, after[2], step.activation_gap[0], jnp.log(chi_s), jnp.log(chi_r), correlation)
        return after, made

    entering = jnp.log(moment_s), jnp.log(moment_r), gap
    first = affine(*entering)
    _, rest = lax.scan(hidden, first, None, length=depth - 1)
    starts = (first[0], first[1], entering[0], entering[1], first[2], gap)
    forward = [jnp.concatenate([start[None], of]) for start, of in zip(starts, rest[:6], strict=True)]
    return DepthProfile(*forward, *rest[6:])


def _from_the_end(log_chi: Float[Array, "hidden *pairs"]) -> Float[Array, "depth *pairs"]:
    return jnp.concatenate([jnp.cumsum(log_chi[::-1], axis=0)[::-1], jnp.zeros_like(log_chi[:1].sum(axis=0))[None]])


def _require_accurate(mean_field: MeanField, profile: DepthProfile) -> None:
    dual = mean_field.activation
    if not isinstance(dual, AbstractQuadratureDual) or profile.depth == 1:
        return
    logs = jnp.stack([profile.log_variance_s[:-1], profile.log_variance_r[:-1]])
    require_accurate(dual, jnp.exp(within(jnp.stack([jnp.min(logs), jnp.max(logs)]))))


def require_accurate(dual: AbstractQuadratureDual, variances: Float[Array, " points"]) -> None:
    """Refuse a quadrature that says itself that it is off.

    Raises:
        ValueError: an estimated error above what kernels of infinite width are given out with.
    """
    error = float(_largest_error(dual, variances))
    if not error <= ACCEPTED_ERROR:
        raise ValueError(
            f"the activation's quadrature is off by {error:.1e} at variances between {float(jnp.min(variances)):.3g} "
            f"and {float(jnp.max(variances)):.3g}: give it more nodes and terms, or the places of its kinks"
        )


@eqx.filter_jit
def _largest_error(dual: AbstractQuadratureDual, variances: Float[Array, " points"]) -> Float[Array, ""]:
    return jnp.max(dual.error_estimate(variances))
