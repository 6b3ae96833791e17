"""Random initial weights by the name of their rule.

With fan-in the number of inputs of one output (of a convolution: input channels × positions of its window) and fan-out
the number of outputs that one input reaches at stride 1 (output channels × positions of the window):

| name | weights | biases | source |
|---|---|---|---|
| ``he_normal`` | N(0, 2/fan-in) | 0 | He et al. 2015a, (10) |
| ``he_normal_fan_out`` | N(0, 2/fan-out) | 0 | He et al. 2015a, (14); paper 3, section 6 (c) |
| ``lecun_normal`` | N(0, 1/fan-in) | 0 | LeCun et al. 1998 |
| ``lecun_truncated_normal`` | the same variance, cut at two standard deviations before scaling | 0 | Flax's default; \
paper 3, section 6 (a) |
| ``pytorch_uniform`` | U(−1/√fan-in, 1/√fan-in), variance 1/(3 fan-in) | the same | PyTorch's default for \
linear and convolutional layers; paper 3, section 6 (b) |

Fully-connected networks may have σ_w and σ_b in place of a name: weights N(0, σ_w²/fan-in), biases N(0, σ_b²), thesis
(2.26), which :func:`gaussian` draws.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

Initialization = Literal["he_normal", "lecun_normal", "he_normal_fan_out", "lecun_truncated_normal", "pytorch_uniform"]

# Standard deviation of N(0, 1) cut at ±2: √(1 − 2·2φ(2)/(2Φ(2) − 1)).
_TRUNCATED_STD = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


def normal_weight(
    key: PRNGKeyArray, outputs: int, inputs: int, initialization: Initialization
) -> Float[Array, "outputs inputs"]:
    """A dense layer's normal weights, under a rule whose biases start at 0.

    Raises:
        ValueError: ``pytorch_uniform``, which is no normal distribution and draws biases too.
    """
    if initialization == "pytorch_uniform":
        raise ValueError(
            "normal_weight: 'pytorch_uniform' is no normal distribution, and its biases are random too; take"
            " initial_weight and initial_bias"
        )
    return initial_weight(key, (outputs, inputs), initialization)


def initial_weight(
    key: PRNGKeyArray, shape: tuple[int, ...], initialization: Initialization, dtype: DTypeLike | None = None
) -> Float[Array, "outputs inputs ..."]:
    """Weights of a dense layer (outputs, inputs) or of a convolution (outputs, inputs, height, width).

    ``dtype`` None means JAX's default floating-point type.
    """
    window = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * window, shape[0] * window
    dtype = jnp.zeros((), dtype).dtype
    match initialization:
        case "he_normal":
            return math.sqrt(2 / fan_in) * jax.random.normal(key, shape, dtype)
        case "he_normal_fan_out":
            return math.sqrt(2 / fan_out) * jax.random.normal(key, shape, dtype)
        case "lecun_normal":
            return math.sqrt(1 / fan_in) * jax.random.normal(key, shape, dtype)
        case "lecun_truncated_normal":
            truncated = jax.random.truncated_normal(key, -2, 2, shape, dtype)
            return math.sqrt(1 / fan_in) / _TRUNCATED_STD * truncated
        case "pytorch_uniform":
            bound = 1 / math.sqrt(fan_in)
            return jax.random.uniform(key, shape, dtype, -bound, bound)


def initial_bias(
    key: PRNGKeyArray, shape: tuple[int, ...], initialization: Initialization, dtype: DTypeLike | None = None
) -> Float[Array, " outputs"]:
    """Biases of the layer whose weights have this ``shape``: 0, but U(±1/√fan-in) under ``pytorch_uniform``.

    ``key`` may be the one of the weights: another stream is derived from it.
    """
    dtype = jnp.zeros((), dtype).dtype
    if initialization != "pytorch_uniform":
        return jnp.zeros(shape[0], dtype)
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    return jax.random.uniform(jax.random.fold_in(key, 1), shape[:1], dtype, -bound, bound)


def gaussian(
    key: PRNGKeyArray, shape: tuple[int, int], *, sigma_w: float, sigma_b: float, dtype: DTypeLike | None = None
) -> tuple[Float[Array, "outputs inputs"], Float[Array, " outputs"]]:
    """W ~ N(0, σ_w²/fan-in) and b ~ N(0, σ_b²) of a dense layer of ``shape`` (outputs, inputs), thesis (2.26).

    They are :func:`unit_normal` from the same key, scaled.
    """
    weight, bias = unit_normal(key, shape, dtype)
    return sigma_w / math.sqrt(shape[1]) * weight, sigma_b * bias


def unit_normal(
    key: PRNGKeyArray, shape: tuple[int, int], dtype: DTypeLike | None = None
) -> tuple[Float[Array, "outputs inputs"], Float[Array, " outputs"]]:
    """w ~ N(0, 1) and β ~ N(0, 1) of a dense layer of ``shape`` (outputs, inputs), thesis (2.52)."""
    dtype = jnp.zeros((), dtype).dtype
    bias_key = jax.random.fold_in(key, 1)
    return jax.random.normal(key, shape, dtype), jax.random.normal(bias_key, shape[:1], dtype)
