"""Random ±1 combinations of outputs: unbiased, and with intervals that hold what they say."""

from __future__ import annotations

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference
from kernels.small_networks import jacobian, small_mlp
from scipy import stats

from ntkflow.kernels import estimate_block_values, network_block_values
from ntkflow.kernels.empirical.chunks import Chunks
from ntkflow.kernels.empirical.network_sums import NetworkSums
from ntkflow.kernels.empirical.random_outputs import random_signs
from ntkflow.kernels.intervals import draws_interval, skewed_interval

CLASSES, M = 3, 4
NETWORK = small_mlp(2)
INPUTS = jax.random.normal(jax.random.key(3), (CLASSES * M, 4))


def exact_sum() -> np.ndarray:
    """d, c, n of Σ_p Θʰ_pp, from the whole Jacobian."""
    found = jacobian(NETWORK, INPUTS, "features")
    return estimate_block_values(jnp.asarray(np.einsum("ipz,jpz->ij", found, found)), CLASSES).values


def values_of(combinations: Any) -> np.ndarray:
    """d, c, n of each combination: (combinations, 3)."""
    sums = NetworkSums(NETWORK, INPUTS, jnp.asarray(combinations), CLASSES, "features", eqx.is_inexact_array, each=True)
    return np.asarray(sums.run(Chunks(M, 32)).block_values()).T


def test_all_sign_vectors_together_are_exact() -> None:
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
    found = values_of(signs)
    assert relative_difference(found.mean(0), exact_sum()) <= 1e-12
    assert np.all(found.std(0) > 1e-3 * exact_sum()), "a single one is not: there is something to average"


def test_many_draws_are_unbiased() -> None:
    draws = values_of(random_signs(jax.random.key(0), 4096, 5, jnp.float64))
    error = draws.std(0, ddof=1) / np.sqrt(len(draws))
    assert np.all(np.abs(draws.mean(0) - exact_sum()) <= 4 * error)
    assert np.all(error <= 0.02 * exact_sum())


def test_the_result_is_the_mean_of_its_draws_with_their_spread() -> None:
    key = jax.random.key(9)
    found = network_block_values(NETWORK, INPUTS, CLASSES, of="features", trace="sum", random_outputs=6, key=key)
    draws = values_of(random_signs(key, 6, 5, jnp.float64))
    assert relative_difference(found.draws, draws) <= 1e-12
    assert relative_difference(found.values, draws.mean(0)) <= 1e-12
    covariance = sum(np.outer(v, v) for v in draws - draws.mean(0)) / (5 * 6)
    assert relative_difference(found.output_covariance, covariance) <= 1e-12
    assert relative_difference(found.covariance, covariance + found.sample_covariance) <= 1e-12
    assert relative_difference(found.interval(0.9), draws_interval(draws, 0.9)) <= 1e-12
    # Two independent estimates of variance, of 5 and of the jackknife's degrees of freedom: Welch and Satterthwaite.
    parts = np.diagonal(covariance), found.estimate.standard_errors**2
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / found.estimate.degrees_of_freedom)
    cumulants = stats.kstat(draws, 3, axis=0) / 36 + found.estimate.jackknife.third_cumulants
    errors = np.sqrt(sum(parts))
    expected = skewed_interval(draws.mean(0), errors, cumulants / errors**3, degrees, 0.9)
    assert relative_difference(found.population_interval(0.9), expected) <= 1e-12
    assert str(found).count("by random outputs") == 3
    assert "6 random ±1 combinations of 5 outputs" in str(found)
    again = network_block_values(NETWORK, INPUTS, CLASSES, of="features", trace="sum", random_outputs=6, key=key)
    assert np.array_equal(again.values, found.values)


@pytest.mark.parametrize("r", [8, 16])
def test_intervals_hold_the_exact_value(r: int) -> None:
    """512 repetitions: 95 % are known to 1 %. The full study is tests/validation/test_block_value_coverage.py."""
    draws = values_of(random_signs(jax.random.key(r), 512 * r, 5, jnp.float64)).reshape(r, 512, 3)
    intervals, exact = draws_interval(draws, 0.95), exact_sum()
    held = np.mean((intervals[..., 0] <= exact) & (exact <= intervals[..., 1]), axis=0)
    assert np.all(held >= 0.92)
    assert np.all(held <= 0.99)


def test_signs_are_signs_and_differ_between_draws() -> None:
    signs = np.asarray(random_signs(jax.random.key(0), 200, 30, jnp.float32))
    assert signs.dtype == np.float32
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs.T @ signs / 200 - np.eye(30)).max() <= 5 / np.sqrt(200)
