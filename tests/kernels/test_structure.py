"""Shares of a kernel that block structures keep, what they miss, and the ratios of block values."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import block_matrix, relative_difference

from ntkflow.kernels import (
    BLOCK_RATIOS,
    block_share,
    block_values,
    class_block_share,
    estimate_block_ratios,
    nearest_block_matrix,
    pair_norms,
    structure_shares,
)


def random_kernel(samples: int, seed: int = 0) -> np.ndarray:
    roots = np.random.default_rng(seed).standard_normal((samples, 7)) + 0.5
    return roots @ roots.T


def whole_kernel(neurons: int, samples: int, seed: int = 0) -> np.ndarray:
    """Θ as gradients' scalar products: symmetric under exchange of both indices."""
    gradients = np.random.default_rng(seed).standard_normal((neurons, samples, 40)) + 0.3
    return np.einsum("pia,qja->piqj", gradients, gradients)


def share_in(span: list[np.ndarray], kernel: np.ndarray) -> float:
    """1 − ‖what least squares leaves of the kernel‖²/‖kernel‖²."""
    basis = np.stack([member.ravel() for member in span], axis=1)
    fitted = basis @ np.linalg.lstsq(basis, kernel.ravel(), rcond=None)[0]
    return 1 - float(np.sum((kernel.ravel() - fitted) ** 2) / np.sum(kernel**2))


UNITS = [block_matrix(*unit, 3, 4) for unit in np.eye(3)]


@pytest.mark.parametrize("values", [(2.0, 1.0, 0.5), (0.5, 1.0, 2.0), (1.0, -0.3, 0.0)])
def test_block_kernels_are_all_block(values: tuple[float, float, float]) -> None:
    kernel = block_matrix(*values, 3, 4)
    assert abs(float(block_share(jnp.asarray(kernel), 3)) - 1) <= 1e-14
    assert relative_difference(nearest_block_matrix(jnp.asarray(kernel), 3), kernel) <= 1e-14
    noise = np.random.default_rng(1).standard_normal((12, 12))
    disturbed = kernel + noise + noise.T
    assert float(block_share(jnp.asarray(disturbed), 3)) < 0.9


def test_block_share_is_one_minus_what_the_nearest_block_kernel_misses() -> None:
    stack = np.stack([random_kernel(12, seed) for seed in range(2)])
    expected = [share_in(UNITS, kernel) for kernel in stack]
    assert relative_difference(block_share(jnp.asarray(stack), 3), expected) <= 1e-13
    left = stack - np.asarray(nearest_block_matrix(jnp.asarray(stack), 3))
    assert relative_difference(1 - np.sum(left**2, (1, 2)) / np.sum(stack**2, (1, 2)), expected) <= 1e-13
    assert np.abs(block_values(jnp.asarray(left), 3)).max() <= 1e-14


def test_one_sample_a_class_has_two_values() -> None:
    kernel = random_kernel(4)
    expected = share_in([np.eye(4), 1 - np.eye(4)], kernel)
    assert abs(float(block_share(jnp.asarray(kernel), 4)) - expected) <= 1e-14
    assert np.isfinite(np.asarray(nearest_block_matrix(jnp.asarray(kernel), 4))).all()


@pytest.mark.parametrize("sizes", [(4, 4, 4), (5, 1, 6)])
def test_values_of_every_class(sizes: tuple[int, ...]) -> None:
    stack = np.stack([random_kernel(12, seed) for seed in range(2)])
    labels = np.repeat(np.arange(3), sizes)
    span = []
    for a in range(3):
        span.append(np.diag((labels == a).astype(float)))
        for b in range(a, 3):
            pair = np.outer(labels == a, labels == b).astype(float)
            span.append(np.where(np.eye(12, dtype=bool), 0, np.maximum(pair, pair.T)))
    span = [member for member in span if member.any()]
    expected = [share_in(span, kernel) for kernel in stack]
    assert relative_difference(class_block_share(jnp.asarray(stack), sizes), expected) <= 1e-13


def test_shares_of_a_whole_kernel_by_least_squares() -> None:
    neurons, samples, classes = 2, 6, 3
    kernel = whole_kernel(neurons, samples)
    units = [block_matrix(*unit, classes, 2) for unit in np.eye(3)]
    pairs = [np.outer(*rows) for rows in np.eye(neurons)[np.array(list(np.ndindex(neurons, neurons)))]]
    entries = [np.outer(*rows) for rows in np.eye(samples)[np.array(list(np.ndindex(samples, samples)))]]

    def span(of_neurons: list[np.ndarray], of_samples: list[np.ndarray]) -> list[np.ndarray]:
        return [np.einsum("pq,ij->piqj", a, b) for a in of_neurons for b in of_samples]

    own = [pair for pair in pairs if np.trace(pair) == 1]
    expected = {
        "neuron_diagonal": share_in(span(own, entries), kernel),
        "isotropic": share_in(span([np.eye(neurons)], entries), kernel),
        "matrix_blocks": share_in(span(pairs, units), kernel),
        "neuron_blocks": share_in(span(own, units), kernel),
        "three_values": share_in(span([np.eye(neurons)], units), kernel),
    }
    shares = structure_shares(jnp.asarray(kernel), classes)
    for name, value in expected.items():
        assert abs(float(getattr(shares, name)) - value) <= 1e-13, name
    assert max(expected.values()) < 0.999
    assert min(expected.values()) == expected["three_values"]
    assert str(shares).startswith("StructureShares(neuron_diagonal 0.")


def test_assumption_3_2_holds_every_share() -> None:
    kernel = np.einsum("pq,ij->piqj", np.eye(3), block_matrix(2.0, 1.0, 0.3, 3, 4))
    for value in vars(structure_shares(jnp.asarray(kernel), 3)).values():
        assert abs(float(value) - 1) <= 1e-14


def test_pair_norms_by_loops() -> None:
    kernel = whole_kernel(3, 4)
    expected = [[np.linalg.norm(kernel[k, :, s, :]) for s in range(3)] for k in range(3)]
    assert relative_difference(pair_norms(jnp.asarray(kernel)), expected) <= 1e-14


def paper_two(kernel: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """Θ̄_c/Θ̄_d, Θ̄_n/Θ̄_d and the gap, (23) as printed: means over each class first."""
    everyone = np.concatenate(members)
    diagonal = np.mean([kernel[i, i] for i in everyone])
    same, different = [], []
    for own in members:
        pairs = sum(kernel[i, j] for i in own for j in own if i != j)
        same.append(pairs / (len(own) * (len(own) - 1)))
        others = sum(kernel[i, j] for i in own for j in everyone if j not in own)
        different.append(others / (len(own) * (len(everyone) - len(own))))
    c, n = np.mean(same), np.mean(different)
    return np.array([c, n, c - n]) / diagonal


def classes_of_four() -> list[np.ndarray]:
    return [np.arange(4 * c, 4 * c + 4) for c in range(3)]


def test_ratios_are_those_of_paper_two() -> None:
    kernel = random_kernel(12, 3)
    ratios = estimate_block_ratios(jnp.asarray(kernel), 3)
    assert len(BLOCK_RATIOS) == 3
    assert relative_difference(ratios.values, paper_two(kernel, classes_of_four())) <= 1e-14
    scaled = estimate_block_ratios(jnp.asarray(7 * kernel), 3)
    assert relative_difference(scaled.values, ratios.values) <= 1e-14
    assert relative_difference(scaled.standard_errors, ratios.standard_errors) <= 1e-12
    assert str(ratios).startswith(f"BlockRatios(c/d = {ratios.values[0]:.4g} ± ")


def test_delta_method_is_near_the_jackknife_of_the_ratios() -> None:
    """They differ in the second order of the deviations: with 12 samples a class, by a few per cent."""
    generator = np.random.default_rng(0)
    roots = (generator.standard_normal((3, 1, 9)) + 0.4 * generator.standard_normal((3, 12, 9))).reshape(36, 9)
    kernel = roots @ roots.T
    members = [np.arange(12 * c, 12 * c + 12) for c in range(3)]
    variance = np.zeros(3)
    for c in range(3):
        without = [
            paper_two(kernel, [own if a != c else np.delete(own, i) for a, own in enumerate(members)])
            for i in range(12)
        ]
        variance += 11 * np.var(without, axis=0)
    errors = estimate_block_ratios(jnp.asarray(kernel), 3).standard_errors
    assert np.abs(errors / np.sqrt(variance) - 1).max() <= 0.05


def test_errors_are_the_spread_of_many_draws() -> None:
    """200 draws of 12 samples a class; their standard deviation is itself known to 1/√400 = 5 %."""
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((3, 1, 5)) + 0.6
    estimates = []
    for _ in range(200):
        roots = (centres + 0.7 * generator.standard_normal((3, 12, 5))).reshape(36, 5)
        estimates.append(estimate_block_ratios(jnp.asarray(roots @ roots.T), 3))
    spread = np.std([estimate.values for estimate in estimates], axis=0, ddof=1)
    errors = np.sqrt(np.mean([estimate.standard_errors**2 for estimate in estimates], axis=0))
    assert np.abs(errors / spread - 1).max() <= 0.2


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="same-class mean is undefined with one sample a class"):
        estimate_block_ratios(jnp.eye(3), 3)
    with pytest.raises(ValueError, match="7 samples cannot be sorted into 3 classes"):
        estimate_block_ratios(jnp.eye(7), 3)
    with pytest.raises(ValueError, match="7 samples cannot be sorted into 3 classes"):
        block_share(jnp.eye(7), 3)
    with pytest.raises(ValueError, match=r"the kernel is nan at \(0, 0\)"):
        estimate_block_ratios(jnp.full((6, 6), jnp.nan), 3)
    with pytest.raises(ValueError, match="diagonal is 0: no gradient is left"):
        estimate_block_ratios(jnp.zeros((9, 9)), 3)
    with pytest.raises(ValueError, match=r"the kernel is inf at \(0, 1, 1, 0\), and not finite at 1 of 16 entries"):
        structure_shares(jnp.zeros((2, 2, 2, 2)).at[0, 1, 1, 0].set(jnp.inf), 2)
    with pytest.raises(ValueError, match="add up to 5, not to 6 samples"):
        class_block_share(jnp.eye(6), (2, 3))


def test_lowering_for_cuda() -> None:
    stack = jnp.stack([jnp.eye(6)] * 2)
    for measure in (block_share, nearest_block_matrix):
        lower_for_cuda(measure, stack, 3)
    lower_for_cuda(lambda stack: class_block_share(stack, (1, 5)), stack)
    whole = jnp.ones((2, 6, 2, 6))
    lower_for_cuda(structure_shares, whole, 3)
    lower_for_cuda(pair_norms, whole)
