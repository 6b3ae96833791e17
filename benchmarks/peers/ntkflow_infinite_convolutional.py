"""How fast ntkflow makes convolutional kernels of infinite width; see infinite_convolutional_problem.py."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
from infinite_convolutional_problem import Run, command_line

from ntkflow.kernels.infinite import ConvolutionalKernel, Head, LeakyReLU

jax.config.update("jax_enable_x64", "float64" in sys.argv)


def make(images: np.ndarray, depth: int, head: str) -> Run:
    """The tangent kernel; the NNGP is computed with it."""
    chosen: Head = "flatten" if head == "flatten" else "global average pooling"
    kernel, x = ConvolutionalKernel(LeakyReLU(), depth, 3, chosen), jnp.asarray(images)
    return lambda: jax.block_until_ready(kernel.kernels(x)).ntk


if __name__ == "__main__":
    command_line((__doc__ or "").splitlines()[0], make)
