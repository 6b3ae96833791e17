"""The angle of a gap against mpmath, and the coefficients made again."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np

from ntkflow.kernels.infinite import angle_of_gap
from ntkflow.kernels.infinite.angle import _COEFFICIENTS


def ratio(g: mp.mpf) -> mp.mpf:
    return mp.asin(mp.sqrt(g / 2)) / mp.sqrt(g / 2) if g > 0 else mp.mpf(1)


def off(found: jax.Array, gaps: np.ndarray) -> float:
    """Largest relative difference to arccos(1 − g)."""
    with mp.workdps(40):
        exact = [2 * mp.asin(mp.sqrt(mp.mpf(float(g)) / 2)) for g in gaps]
        return max(abs(float(mp.mpf(float(a)) / b - 1)) for a, b in zip(found, exact, strict=True))


def test_the_coefficients_are_those_of_the_interpolant() -> None:
    degree = len(_COEFFICIENTS) - 1
    with mp.workdps(40):
        nodes = [mp.cos((2 * k + 1) * mp.pi / (2 * degree + 2)) for k in range(degree + 1)]
        vandermonde = mp.matrix([[s**k for k in range(degree + 1)] for s in nodes])
        made = mp.lu_solve(vandermonde, mp.matrix([ratio((s + 1) / 2) for s in nodes]))
        assert max(abs(float(value) / stored - 1) for value, stored in zip(made, _COEFFICIENTS, strict=True)) < 1e-12


def test_it_is_good_to_some_units_in_the_last_place() -> None:
    generator = np.random.default_rng(0)
    gaps = np.concatenate(
        [
            10.0 ** generator.uniform(-300, 0, 200),
            generator.uniform(0, 2, 300),
            2 - 10.0 ** generator.uniform(-15, 0, 50),
        ]
    )
    found = jax.jit(angle_of_gap)(jnp.asarray(gaps))
    # Near 2 the gap itself does not say more about π − θ.
    assert off(found, gaps) < 4 * np.finfo(np.float64).eps
    single = np.asarray(gaps[200:500], np.float32)
    assert off(jax.jit(angle_of_gap)(jnp.asarray(single)), single) < 4 * np.finfo(np.float32).eps


def test_ends() -> None:
    found = np.asarray(angle_of_gap(jnp.asarray([0.0, -1e-17, 1.0, 2.0, 2.1])))
    np.testing.assert_allclose(found, [0, 0, np.pi / 2, np.pi, np.pi], rtol=1e-15)
    assert found[0] == found[1] == 0
