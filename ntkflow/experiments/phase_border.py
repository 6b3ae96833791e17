"""Where the ordered phase ends on the axis of σ_w²."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.optimize import brentq

from ntkflow.networks import ACTIVATIONS, Activation

_NODES = jnp.linspace(-13.0, 13.0, 20_001)
"""Of trapezoidal sums over N(0, 1), whose weight is 10⁻³⁷ at the ends."""
_VARIANCES = np.geomspace(1e-6, 1e3, 73)


def phase_border(activation: Activation, sigma_b2: float) -> float | None:
    """σ_w² at which χ₁ = σ_w² E[φ'(√q z)²] is 1 with q at its fixed point q = σ_w² E[φ(√q z)²] + σ_b².

    Paper 1, section 2: gradients vanish for χ₁ < 1 and explode for χ₁ > 1. ReLU: 2, whatever σ_b² is. tanh and erf
    without biases: 1/φ'(0)², at q = 0. For others σ_w² is eliminated, and what is left is an equation in q,
    q E[φ'²] = E[φ²] + σ_b² E[φ'²]; its smallest root between 10⁻⁶ and 10³ is taken.

    Args:
        activation: φ.
        sigma_b2: σ_b².

    Returns:
        σ_w², or None if there is no such q.
    """
    if activation == "relu":
        return 2.0
    phi = ACTIVATIONS[activation]
    slope = jax.grad(lambda u: phi(u))
    if sigma_b2 == 0 and activation in ("tanh", "erf"):
        return 1 / float(slope(0.0)) ** 2
    weights = jnp.exp(-(_NODES**2) / 2)

    @jax.jit
    def compiled(q: ArrayLike) -> tuple[jax.Array, jax.Array]:
        u = jnp.sqrt(q) * _NODES
        squares = phi(u) ** 2, jax.vmap(slope)(u) ** 2
        return jnp.average(squares[0], weights=weights), jnp.average(squares[1], weights=weights)

    def moments(log_q: float) -> tuple[float, float, float]:
        q = float(np.exp(log_q))
        squared, steep = compiled(q)
        return q, float(squared), float(steep)

    def excess(log_q: float) -> float:
        q, squared, steep = moments(log_q)
        return (q - sigma_b2) * steep - squared

    logs = np.log(_VARIANCES)
    signs = np.sign([excess(one) for one in logs])
    crossings = np.flatnonzero(signs[1:] * signs[:-1] < 0)
    if not crossings.size:
        return None
    first = int(crossings[0])
    # SciPy's stubs have no form that returns a number alone.
    root: Any = brentq(excess, float(logs[first]), float(logs[first + 1]), xtol=1e-12)
    return 1 / moments(float(root))[2]
