"""Local elasticity: against gradient steps really taken, loops over pairs, and kernels with known answers."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import block_matrix, relative_difference

from ntkflow.kernels import elasticity_of, local_elasticity, relative_similarity, step_similarity

STEP = 1e-6


def random_kernel(samples: int, seed: int = 0) -> np.ndarray:
    roots = np.random.default_rng(seed).standard_normal((samples, 7)) + 0.5
    return roots @ roots.T


class TestAgainstSteps:
    """f(x) = V tanh(Ux) with one or two outputs, squared error; every sample's step taken alone."""

    generator = np.random.default_rng(3)
    inputs = generator.standard_normal((6, 3))
    first = generator.standard_normal((5, 3))

    def measure(self, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Relative similarities by steps, the whole kernel from the Jacobian, and the residuals."""
        generator = np.random.default_rng(outputs)
        shapes = (self.first.shape, (outputs, 5))
        start = np.concatenate([self.first.ravel(), generator.standard_normal(outputs * 5)])
        targets = generator.standard_normal((outputs, 6))

        @jax.jit
        def predict(parameters: jax.Array) -> jax.Array:
            inner = parameters[:15].reshape(shapes[0])
            outer = parameters[15:].reshape(shapes[1])
            return outer @ jnp.tanh(inner @ self.inputs.T)

        jacobian = np.asarray(jax.jacrev(predict)(jnp.asarray(start)))
        before = np.asarray(predict(jnp.asarray(start)))
        residual = before - targets
        similarity = np.empty((6, 6))
        for i in range(6):
            gradient = np.einsum("k,ka->a", residual[:, i], jacobian[:, i])
            moved = np.asarray(predict(jnp.asarray(start - STEP * gradient))) - before
            similarity[i] = np.linalg.norm(moved, axis=0) / np.linalg.norm(moved[:, i])
        return similarity, np.einsum("kia,sja->kisj", jacobian, jacobian), residual

    def test_one_output(self) -> None:
        by_steps, kernel, _ = self.measure(1)
        assert relative_difference(relative_similarity(jnp.asarray(kernel[0, :, 0, :])), by_steps) <= 1e-4

    def test_two_outputs(self) -> None:
        by_steps, kernel, residual = self.measure(2)
        by_kernel = step_similarity(jnp.asarray(kernel), jnp.asarray(residual))
        assert relative_difference(by_kernel, by_steps) <= 1e-4
        traced = relative_similarity(jnp.asarray(np.einsum("kikj->ij", kernel)))
        assert relative_difference(traced, by_steps) > 0.01  # This network is far from Assumption 3.2.


def test_a_kernel_of_assumption_3_2_needs_no_loss() -> None:
    one = random_kernel(6)
    whole = jnp.asarray(np.einsum("ks,ij->kisj", np.eye(3), one))
    gradients = jnp.asarray(np.random.default_rng(1).standard_normal((3, 6)))
    expected = [[abs(one[i, j]) / one[i, i] for j in range(6)] for i in range(6)]
    assert relative_difference(relative_similarity(jnp.asarray(one)), expected) <= 1e-15
    assert relative_difference(step_similarity(whole, gradients), expected) <= 1e-14


@pytest.mark.parametrize(("c", "n", "ratio"), [(1.0, 0.5, 0.5), (-1.0, 0.25, 0.25), (0.5, 0.0, 0.0), (1.0, -1.0, 1.0)])
def test_block_kernels(c: float, n: float, ratio: float) -> None:
    measured = local_elasticity(jnp.asarray(block_matrix(2.0, c, n, 3, 4)), 3)
    assert abs(measured.same_class - abs(c) / 2) <= 1e-15
    assert abs(measured.different_class - abs(n) / 2) <= 1e-15
    assert abs(measured.difference - (abs(c) - abs(n)) / 2) <= 1e-15
    assert abs(measured.ratio - ratio) <= 1e-14
    assert max(*measured.standard_errors, measured.difference_standard_error, measured.ratio_standard_error) <= 1e-14


def test_uncoupled_samples_have_no_ratio_and_say_so() -> None:
    measured = local_elasticity(jnp.eye(9), 3)
    assert math.isnan(measured.ratio)
    assert math.isnan(measured.ratio_standard_error)
    assert str(measured).endswith("ratio undefined)")


def means(similarity: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Means by class and by pair of classes first, as the jackknife has them once a class is smaller."""
    same = [
        np.mean([similarity[i, j] for i in own for j in own if i != j])
        for own in (np.flatnonzero(labels == c) for c in range(3))
    ]
    different = [np.mean(similarity[np.ix_(labels == a, labels == b)]) for a in range(3) for b in range(3) if a != b]
    return np.array([np.mean(same), np.mean(different)])


def test_means_and_errors_by_hand() -> None:
    generator = np.random.default_rng(2)
    roots = (generator.standard_normal((3, 1, 7)) + 0.3 * generator.standard_normal((3, 8, 7))).reshape(24, 7)
    kernel = roots @ roots.T
    labels = np.repeat(np.arange(3), 8)
    similarity = np.abs(kernel) / np.diagonal(kernel)[:, None]
    measured = local_elasticity(jnp.asarray(kernel), 3)
    expected = means(similarity, labels)
    assert relative_difference([measured.same_class, measured.different_class], expected) <= 1e-14
    variance, of_difference, of_ratio = np.zeros(2), 0.0, 0.0
    for c in range(3):
        without = []
        for i in range(8):
            kept = np.delete(np.arange(24), 8 * c + i)
            without.append(means(similarity[np.ix_(kept, kept)], labels[kept]))
        without = np.array(without)
        variance += 7 * np.var(without, axis=0)
        of_difference += 7 * np.var(without[:, 0] - without[:, 1])
        of_ratio += 7 * np.var(without[:, 1] / without[:, 0])
    assert relative_difference(measured.standard_errors, np.sqrt(variance)) <= 1e-12
    assert abs(measured.difference_standard_error / np.sqrt(of_difference) - 1) <= 1e-12
    assert abs(measured.ratio_standard_error / np.sqrt(of_ratio) - 1) <= 0.05
    assert elasticity_of(jnp.asarray(similarity), 3).ratio == measured.ratio


def test_scale_and_order_within_classes_do_not_matter() -> None:
    kernel = random_kernel(12)
    order = np.array([1, 3, 2, 0, 4, 6, 5, 7, 11, 10, 9, 8])
    first = local_elasticity(jnp.asarray(kernel), 3)
    second = local_elasticity(jnp.asarray(5 * kernel[np.ix_(order, order)]), 3)
    for name in ("same_class", "different_class", "ratio", "difference_standard_error", "ratio_standard_error"):
        assert abs(getattr(second, name) / getattr(first, name) - 1) <= 1e-12, name


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"diagonal is 0 at sample 4: a step there does not move .* leave that sample"):
        relative_similarity(jnp.diag(jnp.array([1.0, 1, 1, 1, 0, 1])))
    with pytest.raises(ValueError, match=r"the kernel is nan at \(0, 0\)"):
        relative_similarity(jnp.full((3, 3), jnp.nan))
    with pytest.raises(ValueError, match="same-class mean is undefined with one sample a class"):
        local_elasticity(jnp.eye(3), 3)
    with pytest.raises(ValueError, match="7 samples cannot be sorted into 3 classes"):
        local_elasticity(jnp.eye(7), 3)
    whole = jnp.asarray(np.einsum("ks,ij->kisj", np.eye(2), np.eye(4)))
    fitted = step_similarity(whole, jnp.ones((2, 4)).at[:, 2].set(0))
    assert np.isnan(fitted[2]).all()
    with pytest.raises(ValueError, match=r"the similarity is nan at \(0, 2\), and not .* leave it out"):
        elasticity_of(0.5 * (fitted + fitted.T), 2)
    assert np.isnan(local_elasticity(jnp.asarray(random_kernel(6)), 3).standard_errors).all()  # m = 2


def test_lowering_for_cuda() -> None:
    lower_for_cuda(relative_similarity, jnp.eye(6))
    lower_for_cuda(step_similarity, jnp.ones((2, 6, 2, 6)), jnp.ones((2, 6)))
