"""How fast ntkflow makes kernels of infinite width: `python ntkflow_infinite.py --case NAME [--smoke]`.

In ntkflow's own environment. One line of JSON on stdout, as the peers print it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from infinite_problems import SIGMA_B, SIGMA_W, InfiniteSizes, Kernels, serve, vectors

from ntkflow.kernels.infinite import AbstractDualActivation, Erf, FullyConnectedKernel, LeakyReLU


def fully_connected(dual: AbstractDualActivation, sizes: InfiniteSizes) -> Kernels:
    """Both kernels; compiled at the first call for each number of samples."""
    kernel = FullyConnectedKernel(dual, sizes.depth, SIGMA_W, SIGMA_B)

    def kernels(x: np.ndarray) -> jax.Array:
        return jax.block_until_ready(kernel.kernels(jnp.asarray(x))).ntk

    return kernels


CASES = {
    "fc-relu": (functools.partial(fully_connected, LeakyReLU()), vectors),
    "fc-erf": (functools.partial(fully_connected, Erf()), vectors),
}

if __name__ == "__main__":
    serve((__doc__ or "").splitlines()[0], CASES, lambda: jax.config.update("jax_enable_x64", True))
