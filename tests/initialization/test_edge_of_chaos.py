"""The edge of chaos against 30 digits of mpmath, closed forms, and what networks do on either side of it."""

from __future__ import annotations

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from ntkflow.initialization import MeanField, deep_limit, depth_profile, edge_at_depth, edge_of_chaos
from ntkflow.kernels.infinite import GELU, Erf, LeakyReLU, SmoothDual

TANH = SmoothDual(jnp.tanh)
BIASES = (0.0, 0.1, 1.0, 2.0)


def edge_of_tanh(sigma_b: float) -> mp.mpf:
    """q with q − E[φ²]/E[φ'²] = σ_b², then 1/E[φ'²]: trapezoidal sums at 30 digits."""
    with mp.workdps(30):
        step = mp.mpf(1) / 32
        nodes = [k * step for k in range(-13 * 32, 13 * 32 + 1)]
        weights = [step * mp.exp(-(z**2) / 2) / mp.sqrt(2 * mp.pi) for z in nodes]

        def moments(q: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
            values = [mp.tanh(mp.sqrt(q) * z) for z in nodes]
            return (
                mp.fsum(w * t**2 for w, t in zip(weights, values, strict=True)),
                mp.fsum(w * (1 - t**2) ** 2 for w, t in zip(weights, values, strict=True)),
            )

        def excess(q: mp.mpf) -> mp.mpf:
            square, slope = moments(q)
            return q - square / slope - mp.mpf(sigma_b) ** 2

        start = mp.mpf(2 if sigma_b < 1 else 5 * sigma_b)
        return 1 / moments(mp.findroot(excess, (start / 8, start * 2), solver="anderson", tol=1e-24))[1]


def edge_of_erf(sigma_b: float) -> mp.mpf:
    """The same with the integrals in closed form."""
    with mp.workdps(30):
        excess = lambda q: q - mp.sqrt(q + 0.25) * mp.atan(q / mp.sqrt(q + 0.25)) - mp.mpf(sigma_b) ** 2  # noqa: E731
        q = mp.findroot(excess, (mp.mpf("0.01"), mp.mpf(20)), solver="anderson", tol=1e-28)
        return mp.pi / 2 * mp.sqrt(q + mp.mpf(1) / 4)


def test_relu_is_at_two_whatever_the_bias() -> None:
    assert np.allclose(edge_of_chaos(LeakyReLU(), jnp.array(BIASES)), 2.0, rtol=0, atol=1e-12)
    assert float(edge_of_chaos(LeakyReLU(0.5), 0.3)) == pytest.approx(2 / 1.25, abs=1e-12)


def test_erf() -> None:
    found = np.asarray(edge_of_chaos(Erf(), jnp.array(BIASES)))
    # Without biases the slope 2/√π at 0 is all: σ_w² = π/4, to the square root of rounding.
    assert found[0] == pytest.approx(np.pi / 4, abs=3e-7)
    assert found[1:] == pytest.approx([float(edge_of_erf(sigma_b)) for sigma_b in BIASES[1:]], abs=1e-10)


def test_tanh() -> None:
    """At σ_b = 1 it is 3.443, and not about 3.2."""
    found = np.asarray(edge_of_chaos(TANH, jnp.array(BIASES)))
    assert found[0] == pytest.approx(1.0, abs=3e-7)
    assert found[1:3] == pytest.approx([float(edge_of_tanh(sigma_b)) for sigma_b in BIASES[1:3]], abs=1e-9)
    assert found[2] == pytest.approx(3.4432109, abs=1e-7)


def test_either_side() -> None:
    edge = float(edge_of_chaos(Erf(), 0.5))
    sides = [deep_limit(MeanField(Erf(), (edge * share) ** 0.5, 0.5)).phase for share in (0.999, 1.0, 1.001)]
    assert sides == ["ordered", "edge", "chaotic"]


def test_a_jump() -> None:
    """GELU without biases, from q = 1: where the unstable fixed point passes the start, 1/E[φ(z)²]."""
    found = float(edge_of_chaos(GELU(), 0.0))
    assert found == pytest.approx(1 / float(GELU().second_moment(jnp.array(1.0))), abs=1e-9)
    below, above = (deep_limit(MeanField(GELU(), (found * share) ** 0.5)) for share in (0.999, 1.001))
    assert (below.phase, above.phase) == ("ordered", "chaotic")
    assert below.chi_1 < 0.6
    assert above.chi_1 > 1.1


def test_the_edge_of_a_network_of_finite_depth() -> None:
    """The product of χ₁^ℓ is 1 there; ReLU's does not depend on depth, and others' tends to the line."""
    for depth in (2, 50):
        assert float(edge_at_depth(LeakyReLU(), 0.3, depth)) == pytest.approx(2.0, abs=1e-12)
    found = {depth: float(edge_at_depth(Erf(), 0.5, depth)) for depth in (3, 300)}
    for depth, weight in found.items():
        profile = depth_profile(MeanField(Erf(), weight**0.5, 0.5), depth)
        assert float(jnp.sum(profile.log_chi_s)) == pytest.approx(0, abs=1e-9)
    limit = float(edge_of_chaos(Erf(), 0.5))
    assert abs(found[300] - limit) < 1e-2 * abs(found[3] - limit)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma_b must be finite and not negative"):
        edge_of_chaos(Erf(), -0.1)
    with pytest.raises(ValueError, match="has no hidden layer"):
        edge_at_depth(Erf(), 0.1, 1)
    # φ' = 0 has no edge.
    assert np.isnan(float(edge_of_chaos(SmoothDual(lambda z: 0.0 * z + 1.0), 0.5)))
