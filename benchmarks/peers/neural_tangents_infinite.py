"""How fast neural-tangents makes kernels of infinite width: `python neural_tangents_infinite.py --case NAME [--smoke]`.

For an environment of its own, tests/oracles/neural_tangents/requirements.txt. One line of JSON on stdout. Compiled as a
whole by jax.jit.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from infinite_problems import SIGMA_B, SIGMA_W, InfiniteSizes, Kernels, serve, vectors
from jax._src import source_info_util
from jax.interpreters import ad

# neural-tangents 0.6.5 reads these two names when it is imported; jax took them away.
ad.source_info_util = source_info_util
ad.config = jax.config

from neural_tangents import stax  # noqa: E402


def fully_connected(activation: Any, sizes: InfiniteSizes) -> Kernels:
    """Both kernels; compiled at the first call for each number of samples."""
    layers: list[Any] = []
    for layer in range(sizes.depth):
        layers += [stax.Dense(1, W_std=SIGMA_W, b_std=SIGMA_B)]
        layers += [activation()] if layer < sizes.depth - 1 else []
    _, _, kernel = stax.serial(*layers)
    compiled = jax.jit(lambda x: kernel(x, None, ("nngp", "ntk")))

    def kernels(x: np.ndarray) -> jax.Array:
        found = jax.block_until_ready(compiled(jnp.asarray(x)))
        return found.ntk

    return kernels


CASES = {
    "fc-relu": (functools.partial(fully_connected, stax.Relu), vectors),
    "fc-erf": (functools.partial(fully_connected, stax.Erf), vectors),
}

if __name__ == "__main__":
    serve((__doc__ or "").splitlines()[0], CASES, lambda: jax.config.update("jax_enable_x64", True))
