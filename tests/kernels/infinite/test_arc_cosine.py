"""The two functions of the angle at 60 digits."""

from __future__ import annotations

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from ntkflow.kernels.infinite import arc_cosine as module
from ntkflow.kernels.infinite.arc_cosine import arc_cosine

GAPS = np.unique(np.concatenate([np.logspace(-300, 0, 61), np.linspace(0, 2, 201), 2 - np.logspace(-15, 0, 31)]))


def exact(gap: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    with mpmath.workdps(1000 if gap < 1e-10 else 60):
        cosine = 1 - mpmath.mpf(gap)
        angle = mpmath.acos(cosine)
        return 1 - angle / mpmath.pi, 1 - (mpmath.sin(angle) + (mpmath.pi - angle) * cosine) / mpmath.pi


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_to_a_few_ulp(precision: str) -> None:
    gaps = np.asarray(GAPS, precision)
    gaps = gaps[(gaps == 0) | (gaps >= np.finfo(precision).tiny)]
    half_plane, relu = (np.asarray(value) for value in arc_cosine(jnp.asarray(gaps)))
    assert half_plane.dtype == relu.dtype == precision
    eps = float(np.finfo(precision).eps)
    for place, gap in enumerate(gaps):
        for found, expected in zip((half_plane[place], relu[place]), exact(float(gap)), strict=True):
            assert abs(mpmath.mpf(float(found)) - expected) <= 4 * eps * abs(expected)


def test_ends_and_beyond() -> None:
    half_plane, relu = arc_cosine(jnp.array([-1e-3, 0.0, 2.0, 2.5]))
    assert half_plane.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert relu.tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_coefficients(precision: str) -> None:
    """Chebyshev interpolants of the degree that the table has, turned into powers."""

    def angle(n: mpmath.mpf) -> mpmath.mpf:
        return mpmath.acos(1 - n) / mpmath.sqrt(n) / mpmath.pi

    def segment(n: mpmath.mpf) -> mpmath.mpf:
        theta = mpmath.acos(1 - n)
        return (mpmath.sin(theta) - theta * mpmath.cos(theta)) / (n * mpmath.sqrt(n)) / mpmath.pi

    with mpmath.workdps(60):
        nodes = [mpmath.cos(mpmath.pi * (k + mpmath.mpf(1) / 2) / 60) for k in range(60)]
        for function, table in ((angle, module._ANGLE[precision]), (segment, module._SEGMENT[precision])):
            values = [function((node + 1) / 2) for node in nodes]
            series = np.zeros(len(table), object)
            before, now = np.zeros(len(table), object), np.zeros(len(table), object)
            now[0] = mpmath.mpf(1)
            for degree in range(len(table)):
                share = 2 * sum(
                    value * mpmath.cos(degree * mpmath.pi * (k + mpmath.mpf(1) / 2) / 60)
                    for k, value in enumerate(values)
                ) / 60  # fmt: skip
                series = series + now * (share / 2 if degree == 0 else share)
                moved = np.concatenate([[0], now[:-1]])
                before, now = now, (moved if degree == 0 else 2 * moved - before)
            for coefficient, expected in zip(table, series, strict=True):
                assert abs(coefficient - expected) <= 1e-15 * abs(expected) + mpmath.mpf(10) ** -25
