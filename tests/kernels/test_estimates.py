"""Block values of a measured kernel and their jackknife, against loops over pairs and samples."""

from __future__ import annotations

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import block_matrix, relative_difference
from scipy import stats

from ntkflow.kernels import BLOCK_VALUES, BlockEstimate, estimate_block_values
from ntkflow.kernels.intervals import skewed_interval


def random_kernel(samples: int, seed: int) -> np.ndarray:
    roots = np.random.default_rng(seed).standard_normal((samples, 7)) + 0.5
    return roots @ roots.T


def class_wise_values(kernel: np.ndarray, members: list[list[int]]) -> np.ndarray:
    """d and c as means over classes of each class' mean, n as mean over pairs of classes of their block's mean."""
    d, c, n = [], [], []
    for a, own in enumerate(members):
        d.append(np.mean([kernel[i, i] for i in own]))
        c.append(np.mean([kernel[i, j] for i in own for j in own if i != j]))
        n += [np.mean([kernel[i, j] for i in own for j in other]) for b, other in enumerate(members) if b != a]
    return np.array([np.mean(d), np.mean(c), np.mean(n)])


def members_of(classes: int, m: int) -> list[list[int]]:
    return [list(range(c * m, (c + 1) * m)) for c in range(classes)]


def left_out(kernel: np.ndarray, classes: int, m: int) -> np.ndarray:
    """The values with each sample in turn really taken away: (classes, m, 3)."""
    values = np.empty((classes, m, 3))
    for c in range(classes):
        for i in range(m):
            members = members_of(classes, m)
            members[c].remove(c * m + i)
            values[c, i] = class_wise_values(kernel, members)
    return values


@pytest.mark.parametrize(("classes", "m"), [(3, 4), (2, 3), (4, 6)])
def test_values_are_means_over_pairs(classes: int, m: int) -> None:
    kernel = random_kernel(classes * m, 0)
    sums, counts = dict.fromkeys(BLOCK_VALUES, 0.0), dict.fromkeys(BLOCK_VALUES, 0)
    for i in range(classes * m):
        for j in range(classes * m):
            name = "diagonal" if i == j else "same_class" if i // m == j // m else "different_class"
            sums[name] += kernel[i, j]
            counts[name] += 1
    estimate = estimate_block_values(jnp.asarray(kernel), classes)
    assert relative_difference(estimate.values, [sums[name] / counts[name] for name in BLOCK_VALUES]) <= 1e-14
    assert [float(getattr(estimate.kernel, name)) for name in BLOCK_VALUES] == estimate.values.tolist()


@pytest.mark.parametrize(("classes", "m"), [(3, 4), (2, 3), (4, 6)])
def test_covariance_is_the_jackknife_done_by_hand(classes: int, m: int) -> None:
    kernel = random_kernel(classes * m, 1)
    covariance = np.zeros((3, 3))
    for of_class in left_out(kernel, classes, m):
        deviations = of_class - of_class.mean(axis=0)
        covariance += (m - 1) / m * deviations.T @ deviations
    estimate = estimate_block_values(jnp.asarray(kernel), classes)
    assert relative_difference(estimate.covariance, covariance) <= 1e-12
    assert relative_difference(estimate.standard_errors, np.sqrt(np.diagonal(covariance))) <= 1e-12


def test_intervals_are_the_jackknife_done_by_hand() -> None:
    """Cumulants of each class' replicates; with independent classes they add up, and weigh the degrees of freedom."""
    classes, m = 3, 5
    kernel = random_kernel(classes * m, 4)
    deviations = [of_class - of_class.mean(axis=0) for of_class in left_out(kernel, classes, m)]
    shares = np.array([(m - 1) / m * np.sum(deviation**2, axis=0) for deviation in deviations])
    variance = shares.sum(axis=0)
    degrees = variance**2 / np.sum(shares**2 / (m - 1), axis=0)
    third = -((m - 1) ** 2) / (m * (m - 2)) * np.sum([np.sum(d**3, axis=0) for d in deviations], axis=0)
    estimate = estimate_block_values(jnp.asarray(kernel), classes)
    assert relative_difference(estimate.degrees_of_freedom, degrees) <= 1e-12
    assert np.all((m - 1 <= degrees) & (degrees <= classes * (m - 1)))
    assert relative_difference(estimate.jackknife.third_cumulants, third) <= 1e-11
    expected = skewed_interval(estimate.values, np.sqrt(variance), third / variance**1.5, degrees, 0.9)
    assert relative_difference(estimate.interval(0.9), expected) <= 1e-12


def test_third_cumulant_of_a_mean_over_samples_is_the_unbiased_one() -> None:
    """d is the mean over classes of means over m samples, each with k₃/m²; k₃ is SciPy's k-statistic."""
    kernel = random_kernel(12, 5)
    by_class = np.diagonal(kernel).reshape(3, 4)
    expected = sum(stats.kstat(of_class, 3) / 4**2 for of_class in by_class) / 3**3
    estimate = estimate_block_values(jnp.asarray(kernel), 3)
    assert abs(estimate.jackknife.third_cumulants[0] / expected - 1) <= 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("m", [3, 8])
def test_intervals_hold_the_population(m: int) -> None:
    """Lognormal gradients of one parameter, gᵢ > 0: d = E g², c = n = (E g)². 400 repetitions know 95 % to 1.1 %."""
    generator = np.random.default_rng(m)
    held = np.zeros(3)
    expected = np.exp(0.25 * np.array([2.0, 1.0, 1.0]))
    for _ in range(400):
        roots = np.exp(0.5 * generator.standard_normal(4 * m))
        interval = estimate_block_values(jnp.asarray(np.outer(roots, roots)), 4).interval()
        held += (interval[:, 0] <= expected) & (expected <= interval[:, 1])
    assert np.all(held / 400 >= 0.88)
    assert np.all(held / 400 <= 0.99)


def test_eigenvalue_errors_are_the_jackknife_of_the_eigenvalues() -> None:
    """Eigenvalues of the dense block matrix of every replicate, at the full m: read off by test vectors."""
    classes, m = 3, 4
    vectors = np.zeros((3, 12))
    vectors[0], vectors[1, :4], vectors[1, 4:8], vectors[2, 0], vectors[2, 1] = 1, 1, -1, 1, -1
    variance = np.zeros(3)
    kernel = random_kernel(12, 2)
    for of_class in left_out(kernel, classes, m):
        eigenvalues = [
            [v @ block_matrix(*replicate, classes, m) @ v / (v @ v) for v in vectors] for replicate in of_class
        ]
        variance += (m - 1) * np.var(eigenvalues, axis=0)
    estimate = estimate_block_values(jnp.asarray(kernel), classes)
    assert relative_difference(estimate.eigenvalue_standard_errors, np.sqrt(variance)) <= 1e-12


@pytest.mark.slow
def test_standard_errors_are_the_spread_of_many_draws() -> None:
    """Four classes in 5 dimensions, the kernel the scalar product; 400 draws of 12 samples a class.

    Their empirical standard deviation is itself known to 1/√800 = 3.5 %.
    """
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((4, 1, 5))
    spreads = generator.uniform(0.4, 1.2, (4, 1, 5))
    estimates: list[BlockEstimate] = []
    for _ in range(400):
        roots = (centres + spreads * generator.standard_normal((4, 12, 5))).reshape(48, 5)
        estimates.append(estimate_block_values(jnp.asarray(roots @ roots.T), 4))
    values = np.array([estimate.values for estimate in estimates])
    expected = [
        np.mean(np.sum(centres**2 + spreads**2, axis=-1)),
        np.mean(np.sum(centres**2, axis=-1)),
        np.mean([centres[a, 0] @ centres[b, 0] for a in range(4) for b in range(4) if a != b]),
    ]
    spread = values.std(axis=0, ddof=1)
    assert np.all(np.abs(values.mean(axis=0) - expected) <= 3.5 * spread / np.sqrt(400))  # unbiased
    errors = np.sqrt(np.mean([estimate.standard_errors**2 for estimate in estimates], axis=0))
    assert np.all(np.abs(errors / spread - 1) <= 0.15)
    of_eigenvalues = np.array([np.asarray(estimate.kernel.eigenvalues) for estimate in estimates]).std(axis=0, ddof=1)
    errors = np.sqrt(np.mean([estimate.eigenvalue_standard_errors**2 for estimate in estimates], axis=0))
    assert np.all(np.abs(errors / of_eigenvalues - 1) <= 0.15)


def test_an_exact_block_kernel_has_no_error() -> None:
    estimate = estimate_block_values(jnp.asarray(block_matrix(2.0, 1.0, 0.5, 3, 4)), 3)
    assert relative_difference(estimate.values, [2.0, 1.0, 0.5]) <= 1e-15
    assert np.abs(estimate.covariance).max() <= 1e-28


@pytest.mark.parametrize("asymmetry", [0.0, 1e-16])
def test_two_samples_a_class_have_no_errors_but_values(asymmetry: float) -> None:
    """Without one of two samples no pair of the class is left. A computed kernel need not be symmetric to the bit."""
    kernel = random_kernel(6, 3)
    kernel[0, 1] *= 1 + 2.3 * asymmetry
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = estimate_block_values(jnp.asarray(kernel), 3)
        expected = class_wise_values(kernel, members_of(3, 2))
        assert relative_difference(estimate.values, expected) <= 1e-14
        assert np.isnan(estimate.standard_errors).all()
        assert np.isnan(estimate.eigenvalue_standard_errors).all()
        assert "nan" in str(estimate)


@pytest.mark.parametrize(
    ("samples", "classes", "message"),
    [
        (7, 3, "7 samples cannot be sorted into 3 classes of equal size"),
        (5, 0, "5 samples cannot be sorted into 0 classes"),
        (3, 3, "c, the mean over pairs of one class, is undefined with one sample a class"),
    ],
)
def test_classes_of_another_size_are_refused(samples: int, classes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_block_values(jnp.eye(samples), classes)


def test_print() -> None:
    text = str(estimate_block_values(jnp.asarray(block_matrix(2.0, 1.0, 0.5, 3, 4)), 3))
    assert text.startswith("BlockEstimate(d = 2 ± ")
    assert ", c = 1 ± " in text
    assert ", n = 0.5 ± " in text
