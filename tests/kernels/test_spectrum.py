"""The spectrum in the three eigenspaces, against dense projectors."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from hypothesis import given
from hypothesis import strategies as st
from kernels.dense import block_matrix, projectors, relative_difference

from ntkflow.kernels import BlockKernel, effective_rank, participation_ratio, split_eigenspaces, subspace_spectrum


def random_kernel(samples: int, seed: int = 0) -> np.ndarray:
    roots = np.random.default_rng(seed).standard_normal((samples, 7)) + 0.5
    return roots @ roots.T


@pytest.mark.parametrize(("classes", "m"), [(3, 4), (2, 1), (1, 4)])
def test_against_dense_projectors(classes: int, m: int) -> None:
    kernel = random_kernel(classes * m)
    spectrum = subspace_spectrum(jnp.asarray(kernel), classes)
    spaces = projectors(classes, m)
    total = np.sum(kernel**2)
    for e, (projector, values) in enumerate(zip(spaces, spectrum.eigenvalues, strict=True)):
        dimension = round(np.trace(projector))
        assert values.shape == (dimension,)
        # The dense projection has the same eigenvalues and zeros for the rest: P_e K P_e is positive semi-definite.
        dense = np.linalg.eigvalsh(projector @ kernel @ projector)[::-1][:dimension]
        assert relative_difference(values, dense) <= 1e-12
        assert abs(float(spectrum.trace_shares[e]) - np.trace(projector @ kernel) / np.trace(kernel)) <= 1e-14
        if dimension:
            assert abs(float(spectrum.predicted[e]) - float(jnp.mean(values))) <= 1e-12 * np.linalg.norm(kernel)
        for f, other in enumerate(spaces):
            expected = np.sum((projector @ kernel @ other) ** 2) / total
            assert abs(float(spectrum.couplings[e, f]) - expected) <= 1e-14
    assert abs(float(jnp.sum(spectrum.couplings)) - 1) <= 1e-14
    off = float(jnp.sum(spectrum.couplings) - jnp.trace(spectrum.couplings))
    assert abs(float(spectrum.coupled_share) - off) <= 1e-15


def test_couplings_are_what_the_split_of_rows_and_columns_gives() -> None:
    kernel = random_kernel(12)
    rows = split_eigenspaces(jnp.asarray(kernel), 3).parts()
    couplings = subspace_spectrum(jnp.asarray(kernel), 3).couplings
    for e in range(3):
        norms = split_eigenspaces(rows[e].T, 3).norms()
        assert relative_difference(norms**2 / np.sum(kernel**2), couplings[e]) <= 1e-13


@given(d=st.floats(0.5, 5), c=st.floats(-1, 3), n=st.floats(-1, 2), shape=st.sampled_from([(3, 4), (2, 1), (1, 4)]))
def test_a_block_kernel_has_three_eigenvalues_and_no_couplings(
    d: float, c: float, n: float, shape: tuple[int, int]
) -> None:
    classes, m = shape
    spectrum = subspace_spectrum(jnp.asarray(block_matrix(d, c, n, classes, m)), classes)
    expected = BlockKernel(d, c, n, classes=classes, per_class=m).eigenvalues
    scale = d + abs(c) + abs(n)
    for values, predicted, block in zip(spectrum.eigenvalues, spectrum.predicted, expected, strict=True):
        if values.size:
            assert np.abs(np.asarray(values) - float(block)).max() <= 1e-13 * scale * classes * m
            assert abs(float(predicted) - float(block)) <= 1e-13 * scale * classes * m
    assert abs(float(spectrum.coupled_share)) <= 1e-28


def test_a_known_coupling() -> None:
    """K = uuᵀ with u half in the class means, half within: a quarter of ‖K‖² in each of the four blocks."""
    class_part = np.repeat([1.0, -1.0, 0.0], 4) / np.sqrt(8)
    within_part = np.array([1.0, -1.0] + [0.0] * 10) / np.sqrt(2)
    u = (class_part + within_part) / np.sqrt(2)
    spectrum = subspace_spectrum(jnp.asarray(np.outer(u, u)), 3)
    expected = np.zeros((3, 3))
    expected[1:, 1:] = 0.25
    assert np.abs(np.asarray(spectrum.couplings) - expected).max() <= 1e-15
    assert np.abs(np.asarray(spectrum.trace_shares) - [0, 0.5, 0.5]).max() <= 1e-15
    assert abs(float(spectrum.coupled_share) - 0.5) <= 1e-15


def test_a_stack_is_its_members() -> None:
    stack = np.stack([random_kernel(12, seed) for seed in range(2)])
    together = subspace_spectrum(jnp.asarray(stack), 3)
    for index, kernel in enumerate(stack):
        alone = subspace_spectrum(jnp.asarray(kernel), 3)
        for name, value in vars(alone).items():
            assert relative_difference(getattr(together, name)[index], value) <= 1e-12, name
    assert "SubspaceSpectrum(" in str(together)


def test_order_within_classes_and_of_classes_does_not_matter() -> None:
    kernel = random_kernel(12)
    order = np.array([8, 11, 9, 10, 3, 1, 0, 2, 4, 7, 6, 5])
    first = subspace_spectrum(jnp.asarray(kernel), 3)
    second = subspace_spectrum(jnp.asarray(3 * kernel[np.ix_(order, order)]), 3)
    assert relative_difference(second.couplings, first.couplings) <= 1e-13
    assert relative_difference(second.trace_shares, first.trace_shares) <= 1e-13
    assert relative_difference(second.effective_ranks, first.effective_ranks) <= 1e-12
    for a, b in zip(first.eigenvalues, second.eigenvalues, strict=True):
        assert relative_difference(b, 3 * np.asarray(a)) <= 1e-12


def test_effective_ranks() -> None:
    assert abs(float(effective_rank(jnp.array([2.0, 2.0, 0.0, 2.0]))) - 3) <= 1e-14
    values = np.array([3.0, 1.0, -0.5])
    shares = np.abs(values) / 4.5
    assert abs(float(effective_rank(jnp.asarray(values))) - math.exp(-np.sum(shares * np.log(shares)))) <= 1e-14
    assert float(effective_rank(jnp.zeros(3))) == 0
    assert float(effective_rank(jnp.zeros(0))) == 0
    kernel = random_kernel(12)
    values = np.linalg.eigvalsh(kernel)
    ratio = float(participation_ratio(jnp.asarray(kernel)))
    assert abs(ratio - values.sum() ** 2 / np.sum(values**2)) <= 1e-12
    assert 1 <= ratio <= float(effective_rank(jnp.asarray(values))) <= 7 + 1e-9


def test_print_says_what_is_not_there() -> None:
    text = str(subspace_spectrum(jnp.asarray(random_kernel(4)), 4))
    assert "class_means (3): " in text
    assert "within_class (0): no such vectors" in text
    assert "nan" not in text


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="7 samples cannot be sorted into 3 classes"):
        subspace_spectrum(jnp.eye(7), 3)
    with pytest.raises(ValueError, match=r"the kernel is nan at \(2, 2\)"):
        subspace_spectrum(jnp.eye(6).at[2, 2].set(jnp.nan), 3)
    with pytest.raises(ValueError, match=r"not symmetric: it differs from its transpose by up to 0.1;"):
        subspace_spectrum(jnp.eye(6).at[0, 1].set(0.1), 3)
    rounding = jnp.asarray(random_kernel(6), dtype=jnp.float32).at[0, 1].multiply(1 + 1e-6)
    assert subspace_spectrum(rounding, 3).within_class.dtype == jnp.float32


def test_lowering_for_cuda() -> None:
    lower_for_cuda(subspace_spectrum, jnp.stack([jnp.eye(6)] * 2), 3)
    lower_for_cuda(participation_ratio, jnp.eye(6))
