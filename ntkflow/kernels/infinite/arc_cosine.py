"""The two functions of the angle in arc-cosine kernels, from 1 − cos θ: a square root and two polynomials."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

# With n = 1 − |cos θ| and θₐ = arccos(1 − n) ≤ π/2, both θₐ/√n and (sin θₐ − θₐ cos θₐ)/(n √n) are analytic to n = 2.
# Their Chebyshev interpolants on n ≤ 1, over π and as polynomials in s = 2n − 1, rising powers; the relative error of
# each is below a third of the precision that it is for (tests/kernels/infinite/test_arc_cosine.py makes the numbers
# again, at 60 digits). What a processor spends on these kernels it spends here.
_ANGLE = {
    "float64": (
        0.47140452079103173,
        0.024196673349042994,
        0.003510739466923916,
        0.0006840911906683466,
        0.00015344258608098845,
        3.737356097453428e-05,
        9.608872672485385e-06,
        2.5667032535014437e-06,
        7.053911371395605e-07,
        1.9816308161577273e-07,
        5.662139561640079e-08,
        1.641536812496655e-08,
        4.8663075845739625e-09,
        1.446243050284423e-09,
        3.833103154644621e-10,
        1.1313808774781677e-10,
        6.041669730955647e-11,
        1.8953219428894133e-11,
    ),
    "float32": (
        0.4714045141382796,
        0.024196664743692052,
        0.0035109498811636713,
        0.0006842044393837819,
        0.00015241069107071212,
        3.697459511129404e-05,
        1.119738707245777e-05,
        3.0761787032296207e-06,
    ),
}
_SEGMENT = {
    "float64": (
        0.30829228044264445,
        0.008966100127064853,
        0.0008907115156898505,
        0.00013108305401441056,
        2.3554361920447782e-05,
        4.778718946007284e-06,
        1.05198106900067e-06,
        2.4557451338367263e-07,
        5.99163430507211e-08,
        1.5128460094340752e-08,
        3.927146011590977e-09,
        1.0479947915931336e-09,
        2.8407015585261735e-10,
        7.26069800302174e-11,
        1.9956502610733662e-11,
        8.777125410310875e-12,
        2.5735658476840235e-12,
    ),
    "float32": (
        0.30829227989708335,
        0.008966130510692175,
        0.0008907288078907898,
        0.0001308432735477009,
        2.3469257314385167e-05,
        5.2454437701881455e-06,
        1.1839243553306858e-06,
    ),
}


def arc_cosine(gap: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """1 − θ/π and 1 − (sin θ + (π − θ) cos θ)/π of the gap g = 1 − cos θ, to a few ulp each, at every g ∈ [0, 2].

    They are twice E[φ'(u)φ'(v)] and the gap of ReLU. Nothing cancels: for small g the second one is
    g − (2g)^{3/2}/(3π) + …, and 1 from g = 1 on but for what is subtracted. Outside [0, 2] the nearest end is taken.
    """
    gap = jnp.clip(gap, 0.0, 2.0)
    near = jnp.minimum(gap, 2.0 - gap)
    root, s = jnp.sqrt(near), 2 * near - 1
    precision = "float64" if gap.dtype == jnp.float64 else "float32"
    acute = root * _polynomial(_ANGLE[precision], s)
    segment = near * root * _polynomial(_SEGMENT[precision], s)
    return jnp.where(gap <= 1.0, 1.0 - acute, acute), jnp.minimum(gap, 1.0) - segment


def _polynomial(coefficients: tuple[float, ...], s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Even and odd powers apart: two chains of half the length, which a processor goes through at the same time."""
    square = s * s
    return _horner(coefficients[::2], square) + s * _horner(coefficients[1::2], square)


def _horner(coefficients: tuple[float, ...], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value
