"""Exact samples of Θ(x, x) of random ReLU networks in O(L) each, whatever the widths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ntkflow.initialization.layer_numbers import checked_sigma, checked_widths

_BLOCK = 4096
"""Draws that are made together; a block's draws depend on the seed and its number alone."""


def sample_relu_ntk(
    widths: Sequence[int],
    sigma_w: Float[np.ndarray, " sigmas"] | float,
    *,
    draws: int,
    seed: int,
    first: int = 0,
    input_norm_squared: float = 1.0,
) -> Float[np.ndarray, "draws *sigmas"]:
    """ln Θ(x, x) of independent networks; σ_b = 0. Exact in distribution, no weight is ever drawn.

    The chain of norms of :func:`~ntkflow.initialization.ntk_moments`: k_l ~ Binomial(n_l, 1/2), A_l ~ χ²_{k_l}
    forwards, B_l ~ χ²_{k_l−1} backwards. All σ_w see the same draws (common random numbers), for they only scale them.

    Args:
        widths: (n_0, …, n_{L−1}).
        sigma_w: σ_w, one or several.
        draws: how many networks.
        seed: of NumPy's generator.
        first: number of the first draw, a multiple of 4096: draws ``first`` … of the same seed go on where others end.
        input_norm_squared: ‖x‖².

    Raises:
        UserError: widths or σ_w that no network has.
        ValueError: ``first`` is not a multiple of 4096.
    """
    if first % _BLOCK:
        raise ValueError(f"the number of the first draw is a multiple of {_BLOCK}, not {first}")
    n, sigma = checked_widths(widths), checked_sigma(sigma_w)
    blocks = [
        _block(n, sigma, input_norm_squared, np.random.default_rng([seed, start // _BLOCK]))
        for start in range(first, first + draws, _BLOCK)
    ]
    return np.concatenate(blocks)[:draws]


def _block(
    n: Float[np.ndarray, " depth"], sigma: Float[np.ndarray, "*sigmas"], squared: float, rng: np.random.Generator
) -> Float[np.ndarray, "draws *sigmas"]:
    """One block of draws, in logarithms."""
    depth, size = len(n), _BLOCK
    one = (size, *(1,) * sigma.ndim)
    # Of a dead network both logarithms of a ratio are −∞; those entries are replaced at once.
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = 2 * np.log(sigma) - np.log(n).reshape(-1, *(1,) * sigma.ndim)
        norms = [np.full((size, *sigma.shape), np.log(squared))]
        backward: list[np.ndarray] = []
        alive = np.ones(size, bool)
        for index in range(1, depth):
            active = rng.binomial(int(n[index]), 0.5, size)
            # χ²_k = 2 Γ(k/2), which is 0 for k = 0.
            forward = np.log(2 * rng.standard_gamma(active / 2))
            backward.append(np.log(2 * rng.standard_gamma(np.maximum(active - 1, 0) / 2)).reshape(one))
            alive &= active > 0
            norms.append(norms[-1] + gain[index - 1] + forward.reshape(one))
        output = gain[-1] + norms[-1] + np.log(rng.standard_normal(size) ** 2).reshape(one)
        alive = alive.reshape(one) & (sigma > 0)
        error = np.zeros((size, *sigma.shape))
        total = np.logaddexp(norms[-1], 0.0)
        for index in range(depth - 1, 0, -1):
            share = np.where(alive, output - norms[index], -np.inf)
            error = np.logaddexp(share, gain[index] + backward[index - 1] + error)
            total = np.logaddexp(total, np.where(alive, error + np.logaddexp(norms[index - 1], 0.0), -np.inf))
    # Where a layer has no active neuron, Θ is the squared gradient of the output's bias.
    return np.where(alive, total, np.log1p(squared) if depth == 1 else 0.0)
