"""Differences of arcsines that do not cancel: what the duals of erf and GELU are made of."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.angle import angle_of_gap


class ArcsineExcess(NamedTuple):
    """With A_u = asin(p_u/(1+p_u)), A_v alike and S = asin(c/√((1+p_u)(1+p_v))), c = (1−g)√(p_u p_v).

    Attributes:
        u: A_u − S, each within a few ulp of itself however small.
        v: A_v − S.
        root_determinant: √((1+p_u)(1+p_v) − c²).
    """

    u: Float[Array, "*shape"]
    v: Float[Array, "*shape"]
    root_determinant: Float[Array, "*shape"]


def own_arcsine(p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """asin(p/(1+p)) for p ≥ 0, good at both ends: tan is p/√(1+2p)."""
    return jnp.arctan2(p, jnp.sqrt(1 + 2 * p))


def arcsine_excess(
    p_u: Float[Array, "*#shape"], p_v: Float[Array, "*#shape"], gap: Float[Array, "*#shape"]
) -> ArcsineExcess:
    """Both excesses from p_u, p_v > 0 and the gap.

    sin(A_u − S) is a difference too; its product with the sum of the same two terms is
    p_u [(p_u − p_v) + p_v (1+p_u) g(2−g)] up to a factor, where only rounded inputs are subtracted.
    """
    apart = gap * (2 - gap)
    root_u, root_v = jnp.sqrt(p_u), jnp.sqrt(p_v)
    covariance = (1 - gap) * (root_u * root_v)
    root_determinant = jnp.sqrt(1 + p_u + p_v + (p_u * p_v) * apart)
    scale = 1 / jnp.sqrt(1 + p_u) * (1 / jnp.sqrt(1 + p_v))

    def excess(own: Float[Array, "*#shape"], other: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
        root = jnp.sqrt(1 + 2 * own)
        total = own * root_determinant + jnp.abs(covariance) * root
        cosine = (root * root_determinant + own * covariance) * (scale / (1 + own))
        difference = own * ((own - other) + (other * (1 + own)) * apart) / total
        sine = jnp.where(covariance > 0, difference, total / (1 + own)) * scale
        gap = jnp.where(cosine > 0, sine**2 / (1 + jnp.abs(cosine)), 1 - cosine)
        return jnp.copysign(angle_of_gap(gap), sine)

    return ArcsineExcess(excess(p_u, p_v), excess(p_v, p_u), root_determinant)
