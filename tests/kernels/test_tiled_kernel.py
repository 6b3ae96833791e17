"""Kernels as operators that are never stored, and their approximation of low rank, against the matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference

from ntkflow.kernels import (
    AbstractPairKernel,
    Erf,
    FullyConnectedKernel,
    GaussianPairs,
    LeakyReLU,
    NystromKernel,
    TiledKernel,
    WidePairs,
    rbf_kernel,
)

N, TESTS = 23, 11
generator = np.random.default_rng(0)
INPUTS, TEST_INPUTS = (jnp.asarray(generator.standard_normal((count, 2, 3))) for count in (N, TESTS))
ARRAY = jnp.asarray(generator.standard_normal((3, N)))
NETWORK = FullyConnectedKernel(LeakyReLU(), 3, 1.4, 0.1)
PAIRS = {"ntk": WidePairs(NETWORK), "nngp": WidePairs(NETWORK, "nngp"), "rbf": GaussianPairs(1.7)}


def matrix(name: str, rows: jax.Array, columns: jax.Array | None = None) -> np.ndarray:
    if name == "rbf":
        return np.asarray(rbf_kernel(rows, rows if columns is None else columns, length_scale=1.7))
    return np.asarray(getattr(NETWORK, name)(rows, columns))


@pytest.mark.parametrize(("name", "tile"), [("ntk", 5), ("ntk", 23), ("ntk", 1000), ("nngp", 8), ("rbf", 8)])
def test_the_matrix(name: str, tile: int) -> None:
    """N = 23 is no multiple of 5 or of 8, nor 11 test samples."""
    kernel = TiledKernel(PAIRS[name], INPUTS, tile)
    expected, cross = matrix(name, INPUTS), matrix(name, TEST_INPUTS, INPUTS)
    assert relative_difference(kernel.apply(ARRAY), np.asarray(ARRAY) @ expected) <= 1e-12
    assert relative_difference(kernel.apply_cross(TEST_INPUTS, ARRAY), np.asarray(ARRAY) @ cross.T) <= 1e-12
    assert relative_difference(kernel.diagonal(), np.diagonal(expected)) <= 1e-12
    assert relative_difference(kernel.rows(jnp.asarray([3, 22])), expected[[3, 22]]) <= 1e-12
    assert relative_difference(kernel.cross(TEST_INPUTS), cross) <= 1e-12


def test_equal_samples_in_two_tiles() -> None:
    """A gap of 0 between samples of different tiles, where 1 − cos would leave rounding under a root."""
    inputs = INPUTS.at[20].set(INPUTS[1])
    kernel = TiledKernel(PAIRS["ntk"], inputs, 5)
    found = kernel.apply(jnp.eye(N))
    assert abs(float(found[1, 20] / found[1, 1]) - 1) <= 1e-15
    assert relative_difference(found, NETWORK.ntk(inputs)) <= 1e-12


def test_nystrom_is_exact_in_the_span_of_its_pivots() -> None:
    kernel = TiledKernel(PAIRS["ntk"], INPUTS, 8)
    low = NystromKernel.of(kernel, 9, key=jax.random.key(1))
    pivots = np.asarray(low.pivots)
    assert len(set(pivots.tolist())) == low.rank == 9
    theta, cross = matrix("ntk", INPUTS), matrix("ntk", TEST_INPUTS, INPUTS)
    inverse = np.linalg.inv(theta[np.ix_(pivots, pivots)])
    expected = theta[:, pivots] @ inverse @ theta[pivots]
    assert relative_difference(low.factor.T @ low.factor, expected) <= 1e-11
    assert relative_difference(low.apply(ARRAY), np.asarray(ARRAY) @ expected) <= 1e-11
    assert (
        relative_difference(low.features(TEST_INPUTS).T @ low.factor, cross[:, pivots] @ inverse @ theta[pivots])
        <= 1e-11
    )
    assert float(low.trace) == pytest.approx(np.trace(theta), rel=1e-13)
    assert float(low.trace_error) == pytest.approx(np.trace(theta - expected), rel=1e-10)
    assert np.linalg.norm(theta - expected, 2) <= float(low.trace_error)


def test_all_pivots_give_the_kernel_itself() -> None:
    kernel = TiledKernel(PAIRS["ntk"], INPUTS, 8)
    low = NystromKernel.of(kernel, N, key=jax.random.key(1))
    assert relative_difference(low.factor.T @ low.factor, matrix("ntk", INPUTS)) <= 1e-12
    assert float(low.trace_error) <= 1e-12 * float(low.trace)


def test_pivots_are_drawn_in_proportion_to_what_is_left() -> None:
    """One pivot a draw; K(x, x) of a ReLU network without biases is ‖x‖² times a number."""
    sizes = np.array([3.0, 1.0, 1.0, 0.0])
    inputs = jnp.asarray(np.sqrt(sizes[:, None] + 1e-300) * np.eye(4))
    kernel = TiledKernel(WidePairs(FullyConnectedKernel(LeakyReLU(), 1, 1.0)), inputs, 4)
    drawn = [int(NystromKernel.of(kernel, 1, key=jax.random.key(seed)).pivots[0]) for seed in range(300)]
    shares = np.bincount(drawn, minlength=4) / 300
    assert np.all(np.abs(shares - sizes / 5) <= 4 * np.sqrt(0.6 * 0.4 / 300))
    assert shares[3] == 0


def test_what_is_refused() -> None:
    pairs: AbstractPairKernel = WidePairs(FullyConnectedKernel(Erf(), 2, 1.0))
    with pytest.raises(ValueError, match="tile must be at least 1, not 0"):
        TiledKernel(pairs, INPUTS, 0)
    with pytest.raises(ValueError, match=r"1 samples are 0, the first is 3"):
        TiledKernel(pairs, INPUTS.at[3].set(0.0))
    with pytest.raises(ValueError, match=r"1 samples have values that are NaN or infinite, the first is 2"):
        TiledKernel(PAIRS["rbf"], INPUTS.at[2, 0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="samples of at least one number"):
        TiledKernel(PAIRS["rbf"], INPUTS[:0])
    with pytest.raises(ValueError, match="length_scale must be positive"):
        GaussianPairs(0.0)
    kernel = TiledKernel(pairs, INPUTS, 8)
    for rank in (0, N + 1):
        with pytest.raises(ValueError, match=f"rank must be at least 1 and at most the 23 samples, not {rank}"):
            NystromKernel.of(kernel, rank, key=jax.random.key(0))
    with pytest.raises(ValueError, match="1 samples are 0"):
        kernel.test_diagonal(TEST_INPUTS.at[0].set(0.0))


def test_lowering() -> None:
    kernel = TiledKernel(PAIRS["ntk"], INPUTS, 8)
    text = lower_for_cuda(lambda kernel, array: kernel.apply(array), kernel, ARRAY)
    assert "stablehlo.while" in text
    # No array of all pairs is in the program.
    assert f"{N}x{N}x" not in text
    assert f"{24}x{24}x" not in text
