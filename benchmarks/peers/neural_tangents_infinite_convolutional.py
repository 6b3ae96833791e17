"""How fast neural-tangents makes convolutional kernels of infinite width; see infinite_convolutional_problem.py.

For an environment of its own, tests/oracles/neural_tangents/requirements.txt. Compiled by jax.jit, in one batch, which
is how the library is quickest where memory suffices.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np
from infinite_convolutional_problem import Run, command_line
from neural_tangents import stax

jax.config.update("jax_enable_x64", "float64" in sys.argv)


def make(images: np.ndarray, depth: int, head: str) -> Run:
    """The tangent kernel; the NNGP is computed with it."""
    layers = []
    for _ in range(depth):
        layers += [stax.Conv(1, (3, 3), padding="SAME", W_std=2**0.5, b_std=0.0), stax.Relu()]
    layers += [stax.Flatten() if head == "flatten" else stax.GlobalAvgPool(), stax.Dense(1, W_std=2**0.5, b_std=0.0)]
    _, _, kernel = stax.serial(*layers)
    x = jax.numpy.asarray(images.transpose(0, 2, 3, 1))
    kernels = jax.jit(lambda x: kernel(x, None, ("nngp", "ntk")))
    return lambda: jax.block_until_ready(kernels(x)).ntk


if __name__ == "__main__":
    command_line((__doc__ or "").splitlines()[0], make)
