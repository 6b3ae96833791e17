"""Infinite width against wide random networks, whose kernels are measured by ``empirical_ntk``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.kernels import empirical_ntk
from ntkflow.kernels.infinite import AbstractDualActivation, Erf, FullyConnectedKernel, LeakyReLU
from ntkflow.networks import MLP

WIDTH, OUTPUTS, NETWORKS = 400, 4, 10


@pytest.mark.parametrize(("activation", "dual"), [("relu", LeakyReLU()), ("erf", Erf())])
@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_the_mean_over_wide_networks(activation: str, dual: AbstractDualActivation, parametrization: str) -> None:
    """Within four standard errors; the mean's own distance from the limit is of the order depth/width, below them."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 5)))
    measured = []
    for seed in range(NETWORKS):
        network = MLP(
            jax.random.key(seed),
            inputs=5,
            outputs=OUTPUTS,
            widths=(WIDTH,),
            features=WIDTH,
            activation=activation,  # type: ignore[arg-type]
            parametrization=parametrization,  # type: ignore[arg-type]
            sigma_w=1.4,
            sigma_b=0.3,
        )
        measured.append(np.asarray(empirical_ntk(network, x, trace="mean").values))
    widths = (WIDTH, WIDTH) if parametrization == "standard" else ()
    kernel = FullyConnectedKernel(
        dual,
        3,
        1.4,
        0.3,
        parametrization=parametrization,  # type: ignore[arg-type]
        widths=widths,
    ).ntk(x)
    mean, error = np.mean(measured, axis=0), np.std(measured, axis=0, ddof=1) / np.sqrt(NETWORKS)
    assert np.all(np.abs(mean - kernel) < 4 * error)
    assert np.max(error / np.abs(np.diag(kernel)).max()) < 0.05
