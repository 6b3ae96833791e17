"""Random initial weights by the name of their rule."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Initialization = Literal["he_normal", "lecun_normal"]

_GAIN: dict[Initialization, float] = {"he_normal": 2.0, "lecun_normal": 1.0}


def normal_weight(
    key: PRNGKeyArray, outputs: int, inputs: int, initialization: Initialization
) -> Float[Array, "outputs inputs"]:
    """A dense layer's weights, N(0, gain / inputs) with gain 2 (He et al. 2015) or 1 (LeCun et al. 1998)."""
    return jnp.sqrt(_GAIN[initialization] / inputs) * jax.random.normal(key, (outputs, inputs))
