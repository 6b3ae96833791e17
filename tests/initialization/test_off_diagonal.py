"""Θ(x, x̃): the ratio of the means at infinite width, and paper 2's bounds."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.errors import UserError
from ntkflow.initialization import draw_ntk, off_diagonal_dispersion_bound, off_diagonal_ratio
from ntkflow.kernels.infinite import FullyConnectedKernel, LeakyReLU


@pytest.mark.parametrize("variance", [1.0, 2.0, 3.0])
def test_ratio_is_that_of_the_kernel_of_infinite_width(variance: float) -> None:
    depth, cosine, width = 6, 0.3, 40
    inputs = jnp.array([[1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5]])
    kernel = FullyConnectedKernel(
        LeakyReLU(), depth, variance**0.5, 0.0, parametrization="standard", widths=(width,) * (depth - 1)
    )
    theta = kernel.ntk(inputs)
    found = off_diagonal_ratio((2, *(width,) * (depth - 1)), variance**0.5, cosine)
    assert found == pytest.approx(float(theta[0, 1] / theta[0, 0]), rel=1e-9)


def test_limits_of_depth() -> None:
    # (16): from 1/4 in the chaotic phase and on its edge to 1 in the ordered one.
    ratios = [off_diagonal_ratio((100,) * 3000, variance**0.5, 0.3) for variance in (1.0, 2.0, 3.0)]
    assert ratios[0] > 0.998
    assert ratios[1:] == pytest.approx([0.25, 0.25], rel=1e-2)
    assert off_diagonal_ratio((10, 10), 1.0, 1.0) == pytest.approx(1)
    with pytest.raises(UserError, match="cosine"):
        off_diagonal_ratio((10, 10), 1.0, 1.2)


def test_dispersion_is_bounded_by_the_diagonal_one() -> None:
    found = draw_ntk((12,) * 6, [1.5], cosine=0.3, draws=4000, seed=0)
    values = (found.signs * np.exp(found.logs))[:, 0]
    diagonal = np.mean(values[:, 0] ** 2) / np.mean(values[:, 0]) ** 2
    off = np.mean(values[:, 1] ** 2) / np.mean(values[:, 1]) ** 2
    ratio = np.mean(values[:, 1]) / np.mean(values[:, 0])
    assert off <= off_diagonal_dispersion_bound(diagonal, ratio) <= off_diagonal_dispersion_bound(diagonal) * 1.01
