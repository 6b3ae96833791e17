"""The angle between two unit vectors from 1 − cos θ: exact where arccos loses half the digits, and without branches."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

# θ/√(2g) = asin(√z)/√z with z = g/2 is analytic up to z = 1. On g ≤ 1 its Chebyshev interpolant of degree 18, here as
# a polynomial in s = 2g − 1, is within 2 ulp (tests/kernels/infinite/test_angle.py makes the numbers again, at 40
# digits); beyond, θ(g) = π − θ(2 − g). Multiplications fill the vector units of a processor; arccos is a call a number.
_COEFFICIENTS = (
    1.0471975511965979,
    0.05375149359132718,
    0.007798902238973735,
    0.001519668539582746,
    0.0003408637234163692,
    8.302317819140265e-05,
    2.134555260606702e-05,
    5.701781075076665e-06,
    1.5669625983394028e-06,
    4.402075904513191e-07,
    1.2584618618630428e-07,
    3.646596273974707e-08,
    1.0699801762268182e-08,
    3.2125465398641487e-09,
    9.606986257778525e-10,
    2.514428331625947e-10,
    7.597606552881001e-11,
    4.207679353989645e-11,
    1.294087904918515e-11,
)


def angle_of_gap(gap: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """θ = arccos(1 − g) ∈ [0, π] of the gap g = 1 − cos θ, within 4 ulp at every g ∈ [0, 2].

    arccos of a cosine near 1 knows the angle to √ε = 1.5·10⁻⁸ at best, since the cosine does; the gap g ≈ θ²/2 knows it
    to ε. Outside [0, 2] the nearest end is taken.
    """
    gap = jnp.clip(gap, 0.0, 2.0)
    near = jnp.minimum(gap, 2.0 - gap)
    s = 2 * near - 1
    ratio = jnp.full_like(s, _COEFFICIENTS[-1])
    for coefficient in reversed(_COEFFICIENTS[:-1]):
        ratio = ratio * s + coefficient
    # The root comes last: XLA computes a root once for all who use it, and would repeat the polynomial for each.
    acute = jnp.sqrt(2 * near * ratio**2)
    return jnp.where(gap <= 1.0, acute, jnp.pi - acute)
