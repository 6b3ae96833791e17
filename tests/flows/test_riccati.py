"""The closed form of the two Gram matrices against SciPy on their factors, 150 digits, and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.end_of_training import Pair, integrate_factors, precise_riccati, random_factors
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference

from ntkflow.flows import gram_pair_at, gram_pair_limit

TIMES = np.array([0.0, 0.03, 0.4, 2.0])
SPECTRA = {
    "positive": [0.5, 3.0, 7.0, 20.0, 50.0],
    "negative": [-0.5, -3.0, -7.0, -20.0, -50.0],
    "indefinite": [-50.0, -8.0, -0.3, 4.0, 50.0],
    "with zeros": [-50.0, 0.0, 0.0, 0.0, 30.0],
}


def low_rank(seed: int) -> Pair:
    """Fewer columns of a, and rows of V, than dimensions: three of five directions have F = 0 or nearly."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((5, 2)) * [3.0, 0.5], generator.standard_normal((2, 5)) * 2.0


def factors(name: str) -> Pair:
    return low_rank(3) if name == "low rank" else random_factors(np.random.default_rng(0), SPECTRA[name])


def grams(a: np.ndarray, v: np.ndarray) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(a @ a.T), jnp.asarray(v.T @ v)


at_times = jax.jit(gram_pair_at)


@pytest.mark.parametrize("name", [*SPECTRA, "low rank"])
def test_against_scipy_on_the_factors(name: str) -> None:
    """Down to eigenvalues of −50 until t = 2, where e^{100} would appear in the printed form."""
    a, v = factors(name)
    if name != "low rank":
        np.testing.assert_allclose(np.linalg.eigvalsh(v.T @ v - a @ a.T), sorted(SPECTRA[name]), atol=1e-11)
    own = at_times(*grams(a, v), jnp.asarray(TIMES))
    for index, (a_then, v_then) in enumerate(integrate_factors(a, v, TIMES)):
        assert relative_difference(own.feature_gram[index], a_then @ a_then.T) <= 1e-9
        assert relative_difference(own.weight_gram[index], v_then.T @ v_then) <= 1e-9
        assert float(own.overlap[index]) == pytest.approx(float(np.sum((v_then @ a_then) ** 2)), rel=1e-8)


@pytest.mark.parametrize("name", ["positive", "negative", "indefinite", "low rank"])
def test_against_150_digits(name: str) -> None:
    a, v = factors(name)
    feature, weight = grams(a, v)
    own = at_times(feature, weight, jnp.asarray(TIMES))
    for index, time in enumerate(TIMES):
        expected = precise_riccati(np.asarray(feature), np.asarray(weight - feature), float(time))
        assert relative_difference(own.feature_gram[index], expected) <= 1e-12


def test_the_printed_form_loses_every_digit() -> None:
    """Why the module exists: e^{−Ft} P₀ (I + 2KP₀)⁻¹ e^{−Ft} with K = ∫e^{−2Fs}ds, in floating point."""
    a, v = factors("indefinite")
    feature, invariant = a @ a.T, v.T @ v - a @ a.T
    values, vectors = np.linalg.eigh(invariant)
    integral = (1 - np.exp(-2 * values * 2.0)) / (2 * values)
    start, decay = vectors.T @ feature @ vectors, vectors * np.exp(-values * 2.0)
    naive = decay @ start @ np.linalg.inv(np.eye(5) + 2 * integral[:, None] * start) @ decay.T
    expected = precise_riccati(feature, invariant, 2.0)
    assert relative_difference(naive, expected) > 1
    assert relative_difference(at_times(*grams(a, v), jnp.asarray(TIMES)).feature_gram[-1], expected) <= 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_what_is_inverted_stays_above_one_half(seed: int) -> None:
    """I + 2N^½Δ₀N^½ ⪰ ½, for factors of any rank; Δ₀ itself is indefinite."""
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((6, 1 + seed % 6)) * 10 ** generator.uniform(-2, 2)
    v = generator.standard_normal((1 + seed % 4, 6)) * 10 ** generator.uniform(-2, 2)
    values, vectors = np.linalg.eigh(v.T @ v - a @ a.T)
    excess = vectors.T @ a @ a.T @ vectors - np.diag(np.maximum(-values, 0))
    for time in (1e-3, 0.1, 10.0):
        size = np.maximum(np.abs(values), 1e-300)
        half = np.sqrt(-np.expm1(-2 * size * time) / (2 * size))
        smallest = np.linalg.eigvalsh(np.eye(6) + 2 * half[:, None] * excess * half)[0]
        assert smallest >= 0.5 - 1e-9


@pytest.mark.parametrize("name", ["negative", "indefinite"])
def test_limit(name: str) -> None:
    a, v = factors(name)
    feature, weight = grams(a, v)
    late = at_times(feature, weight, jnp.asarray([0.0, 1.0, 5.0, 60.0]))
    limits = gram_pair_limit(feature, weight)
    scale = float(jnp.linalg.norm(feature))
    assert float(jnp.linalg.norm(late.feature_gram[-1] - limits[0])) <= 1e-12 * scale
    assert float(jnp.linalg.norm(late.weight_gram[-1] - limits[1])) <= 1e-12 * scale
    # F is the difference of the two limits, and they are parts of it: their product is 0.
    assert relative_difference(limits[1] - limits[0], weight - feature) <= 1e-12
    assert float(jnp.linalg.norm(limits[0] @ limits[1])) <= 1e-12 * scale**2


def test_zero_eigenvalues_decay_as_one_over_time() -> None:
    """F = 0: P(t) = (P₀⁻¹ + 2t)⁻¹, in twelve orders of magnitude of time."""
    a = np.random.default_rng(1).standard_normal((4, 4))
    feature = a @ a.T
    times = np.array([0.0, 1e-3, 1.0, 1e9])
    own = at_times(jnp.asarray(feature), jnp.asarray(feature), jnp.asarray(times)).feature_gram
    for index, time in enumerate(times):
        expected = np.linalg.inv(np.linalg.inv(feature) + 2 * time * np.eye(4))
        assert relative_difference(own[index], expected) <= 1e-11


def test_restarting_changes_nothing() -> None:
    a, v = factors("indefinite")
    first = at_times(*grams(a, v), jnp.asarray([0.0, 0.1, 0.2, 0.3]))
    second = at_times(first.feature_gram[1], first.weight_gram[1], jnp.asarray([0.0, 0.1, 0.2, 0.3]))
    assert relative_difference(second.feature_gram[:3], first.feature_gram[1:]) <= 1e-12
    assert relative_difference(first.feature_gram[0], a @ a.T) <= 1e-13


def weighted(
    feature: jax.Array, weight: jax.Array, times: jax.Array, weights: tuple[jax.Array, jax.Array, jax.Array]
) -> jax.Array:
    pair = gram_pair_at(feature, weight, times)
    return sum(jnp.sum(w * leaf) for w, leaf in zip(weights, jax.tree.leaves(pair), strict=True))


gradients = jax.jit(jax.grad(weighted, argnums=(0, 1, 2)))
value = jax.jit(weighted)


@pytest.mark.parametrize("name", ["indefinite", "low rank", "with zeros"])
def test_derivatives(name: str) -> None:
    """With respect to the factors and the times, against differences of fourth order; eigenvalues of F are 0 in the
    last two cases, where the derivative of an eigendecomposition is NaN.
    """
    generator = np.random.default_rng(7)
    a, v = (factor / 4 for factor in factors(name))
    da, dv = (generator.standard_normal(factor.shape) for factor in (a, v))
    times = jnp.asarray([0.02, 0.1, 0.5, 2.0])
    weights = tuple(jnp.asarray(generator.standard_normal(shape)) for shape in ((4, 5, 5), (4, 5, 5), (4,)))

    def moved(step: float) -> float:
        return float(value(*grams(a + step * da, v + step * dv), times + step, weights))

    h = 2e-4
    difference = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    by_feature, by_weight, by_time = (np.asarray(one) for one in gradients(*grams(a, v), times, weights))
    along = 2 * np.sum(by_feature * (da @ a.T)) + 2 * np.sum(by_weight * (dv.T @ v)) + np.sum(by_time)
    assert along == pytest.approx(difference, rel=1e-7)


def test_several_at_once() -> None:
    pairs = [factors("indefinite"), factors("negative")]
    stacked = [jnp.stack(both) for both in zip(*(grams(*pair) for pair in pairs), strict=True)]
    together = jax.jit(jax.vmap(lambda p, q: gram_pair_at(p, q, jnp.asarray(TIMES))))(*stacked)
    for index, pair in enumerate(pairs):
        alone = at_times(*grams(*pair), jnp.asarray(TIMES))
        assert relative_difference(together.feature_gram[index], alone.feature_gram) <= 1e-13


def test_it_lowers_for_cuda() -> None:
    arguments = (*grams(*factors("indefinite")), jnp.asarray(TIMES))
    assert "stablehlo" in lower_for_cuda(lambda *arguments: gram_pair_at(*arguments).feature_gram, *arguments)
    gradient = jax.grad(lambda *arguments: jnp.sum(gram_pair_at(*arguments).overlap))
    assert "stablehlo" in lower_for_cuda(gradient, *arguments)
