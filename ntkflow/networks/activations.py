"""Activation functions by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Activation = Literal["relu", "tanh", "erf", "gelu", "linear"]

ACTIVATIONS: dict[Activation, Callable[[Float[Array, "..."]], Float[Array, "..."]]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "erf": jax.scipy.special.erf,
    # The exact GELU, x Φ(x); JAX's default is an approximation by tanh.
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "linear": lambda x: x,
}
"""Element-wise activations; ``relu`` has derivative 0 at 0."""

HOMOGENEOUS: frozenset[Activation] = frozenset({"relu", "linear"})
"""φ(cx) = cφ(x) for c > 0."""
