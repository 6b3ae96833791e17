"""Moments of Θ(x, x) as paper 2's lemmas give them, to see how far they are from the exact ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ntkflow.initialization.layer_numbers import Numbers, checked_sigma, checked_widths
from ntkflow.initialization.moments import LOG_2, NTKMoments


def published_moments(widths: Sequence[int], sigma_w: Numbers, *, input_norm_squared: float = 1.0) -> NTKMoments:
    """Paper 2, (11)–(15), as Lemmas A.5–A.7 sum them, without their O(M^(-3/2)); arguments as of ``ntk_moments``.

    (13) is taken with the factor 2 and the product of its lemma, which the theorem lost in print. What remains wrong is
    E ∏ N_δ N_x = ∏ (1 + 1/n): true for one layer, too small by 4.5 k²/n² and more over k of them.

    Raises:
        UserError: widths or σ_w that no network has.
    """
    n, sigma = checked_widths(widths), checked_sigma(sigma_w)
    depth, shape = len(n), (-1, *(1,) * sigma.ndim)
    with np.errstate(divide="ignore"):
        # a^0 = 1, at σ_w = 0 as well.
        log_a = np.maximum(2 * np.log(sigma) - LOG_2, -1e300)
    five = np.concatenate([[0.0], np.cumsum(np.log1p(5 / n[1:]))]).reshape(shape)
    one = np.concatenate([[0.0], np.cumsum(np.log1p(1 / n[1:]))]).reshape(shape)
    above = np.arange(depth - 1.0, -1, -1).reshape(shape)
    size, squared = (np.log(n) - np.log(n[0])).reshape(shape), np.log(input_norm_squared)

    def total(terms: Numbers) -> Numbers:
        return np.logaddexp.reduce(terms, axis=0)

    def pairs(first: Numbers, second: Numbers) -> Numbers:
        """ln Σ_{l₁ < l₂} exp(first[l₁] + second[l₂])."""
        if depth == 1:
            return np.full_like(sigma, -np.inf)
        below = np.logaddexp.accumulate(np.broadcast_to(first, (depth, *sigma.shape)), axis=0)
        return total(below[:-1] + np.asarray(second)[1:])

    rest = five[-1] - five
    zeros = np.zeros_like(sigma)
    fixed = 2 * (depth - 1) * log_a + 2 * squared
    second_weights = fixed + np.logaddexp(
        total(2 * size + five[-1] + zeros), LOG_2 + pairs(size + five - one, size + one + rest)
    )
    second_biases = np.logaddexp(total(2 * above * log_a + rest), LOG_2 + pairs(above * log_a, above * log_a + rest))
    factor = (depth - 1) * log_a + squared
    product = factor + np.logaddexp(
        total(above * log_a + size + rest),
        np.logaddexp(pairs(above * log_a - one, size + one + rest), pairs(size + zeros, above * log_a + rest)),
    )
    return NTKMoments(
        factor + total(size + zeros), total(above * log_a + zeros), second_weights, second_biases, product
    )
