"""Gaussian moments and kernels with mpmath, from their definitions: nothing here goes through ntkflow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp

DIGITS = 50
Number = Any


def trapezoid(strip: Number, digits: int) -> list[tuple[Number, Number]]:
    """Nodes and weights for E[f(z)], z ~ N(0, 1), f analytic for |Im z| < strip, to so many digits."""
    exponent = digits * mp.log(10)
    step = min(2 * mp.pi * strip / exponent, mp.sqrt(2) * mp.pi / mp.sqrt(exponent))
    last = int(mp.ceil((mp.sqrt(2 * exponent) + 1) / step))
    return [(k * step, step * mp.exp(-((k * step) ** 2) / 2) / mp.sqrt(2 * mp.pi)) for k in range(-last, last + 1)]


def smooth_moments(
    function: Callable[[Number], tuple[Number, Number]],
    q_u: float,
    q_v: float,
    gap: float,
    *,
    strip: Number,
    digits: int = 20,
) -> tuple[Number, Number]:
    """½E[(φ(u)/√E[φ(u)²] − φ(v)/√E[φ(v)²])²], which is the gap of φ(u) and φ(v), and E[φ'(u)φ'(v)].

    ``function`` gives φ and φ'. By the trapezoidal rule in u = √q_u z, v = √q_v (ρ z + √(1 − ρ²) w); ``strip`` is the
    distance of φ's poles from the real axis, less for functions that grow off it.
    """
    with mp.workdps(DIGITS):
        root_u, root_v, g = mp.sqrt(mp.mpf(q_u)), mp.sqrt(mp.mpf(q_v)), mp.mpf(gap)
        along, across = root_v * (1 - g), root_v * mp.sqrt(g * (2 - g))
        size_u, size_v = (
            mp.sqrt(mp.fsum(w * function(root * z)[0] ** 2 for z, w in trapezoid(strip / root, digits)))
            for root in (root_u, root_v)
        )
        outer = trapezoid(strip / max(root_u, abs(along)), digits)
        inner = trapezoid(strip / across, digits) if across > 0 else [(mp.mpf(0), mp.mpf(1))]
        apart, slopes = mp.mpf(0), mp.mpf(0)
        for z, weight in outer:
            at_u, slope_u = function(root_u * z)
            at_u /= size_u
            differences = slopes_v = mp.mpf(0)
            for w, other in inner:
                at_v, slope_v = function(along * z + across * w)
                differences += other * (at_u - at_v / size_v) ** 2
                slopes_v += other * slope_v
            apart += weight * differences / 2
            slopes += weight * slope_u * slopes_v
        return apart, slopes


def homogeneous_moments(low: Number, high: Number, power: int, gap: float) -> tuple[Number, Number]:
    """The gap, and E[φ'(u)φ'(v)], of φ(z) = high·z^p for z > 0 and low·z^p for z ≤ 0, p = 0 or 1; as an integral over
    the direction of (u, v), since r separates. ½E[(φ(u) − φ(v))²]/E[φ(u)²] for unit variances.
    """
    with mp.workdps(DIGITS):
        theta = 2 * mp.asin(mp.sqrt(mp.mpf(gap) / 2))

        def value(c: Number) -> Number:
            return (high if c > 0 else low) * c**power

        def over_directions(f: Callable[[Number], Number]) -> Number:
            ends = sorted({-mp.pi / 2, theta - mp.pi / 2, mp.pi / 2, theta + mp.pi / 2, 3 * mp.pi / 2})
            return mp.fsum(mp.quad(f, [a, b]) for a, b in itertools.pairwise(ends) if b > a) / (2 * mp.pi)

        apart = over_directions(lambda t: (value(mp.cos(t)) - value(mp.cos(t - theta))) ** 2 / 2)
        own = over_directions(lambda t: value(mp.cos(t)) ** 2)
        slopes = over_directions(lambda t: (high if mp.cos(t) > 0 else low) * (high if mp.cos(t - theta) > 0 else low))
        return apart / own, slopes


Dual = Callable[[Number, Number, Number], tuple[Number, Number]]
"""From q_u, q_v and the covariance to E[φ(u)φ(v)] and E[φ'(u)φ'(v)]."""


def relu(q_u: Number, q_v: Number, c: Number) -> tuple[Number, Number]:
    """Arc-cosine kernels (Cho and Saul 2009)."""
    size = mp.sqrt(q_u * q_v)
    theta = mp.acos(min(c / size, mp.mpf(1)))
    return size * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / (2 * mp.pi), (mp.pi - theta) / (2 * mp.pi)


def erf(q_u: Number, q_v: Number, c: Number) -> tuple[Number, Number]:
    """The arcsine kernel (Williams 1997)."""
    size = (1 + 2 * q_u) * (1 + 2 * q_v)
    return 2 / mp.pi * mp.asin(2 * c / mp.sqrt(size)), 4 / mp.pi / mp.sqrt(size - 4 * c**2)


def kernels(
    dual: Dual, x: Sequence[float], y: Sequence[float], depth: int, sigma_w: float, sigma_b: float
) -> tuple[Number, Number]:
    """K and Θ of depth layers of weights, by the recursion as it is printed in the docs, at 80 digits."""
    with mp.workdps(80):
        weight, bias = mp.mpf(sigma_w) ** 2, mp.mpf(sigma_b) ** 2

        def first(a: Sequence[float], b: Sequence[float]) -> Number:
            return weight * mp.fsum(mp.mpf(p) * mp.mpf(q) for p, q in zip(a, b, strict=True)) / len(a) + bias

        q_u, q_v, k = first(x, x), first(y, y), first(x, y)
        theta = k
        for _ in range(depth - 1):
            value, slope = dual(q_u, q_v, k)
            q_u, q_v = (weight * dual(q, q, q)[0] + bias for q in (q_u, q_v))
            k = weight * value + bias
            theta = k + weight * theta * slope
        return k, theta
