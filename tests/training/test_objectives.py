"""Losses of a batch against their definitions, and their means over batches."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.training import CrossEntropy, SquaredError

GENERATOR = np.random.default_rng(0)
LOGITS = 3 * GENERATOR.standard_normal((3, 5))
LABELS = np.array([0, 2, 1, 1, 0])
TARGETS = np.eye(3) - 1 / 3


def value(objective: SquaredError | CrossEntropy, logits: np.ndarray, labels: np.ndarray, share: float) -> float:
    compiled = jax.jit(objective.value, static_argnums=3)
    return float(compiled(jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(TARGETS), share))


def squared(logits: np.ndarray, labels: np.ndarray) -> float:
    return sum(((logits[:, i] - TARGETS[:, label]) ** 2).sum() for i, label in enumerate(labels))


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_squared_error(share: float) -> None:
    expected = squared(LOGITS, LABELS) / (2 * 7.0 * share)
    assert value(SquaredError(7.0), LOGITS, LABELS, share) == pytest.approx(expected, rel=1e-14)


def test_the_mean_over_balanced_batches_is_the_loss_of_all_samples() -> None:
    """Every choice of one of two samples of each of three classes, each as likely."""
    labels = np.repeat(np.arange(3), 2)
    logits = GENERATOR.standard_normal((3, 6))
    batches = [np.array([a, 2 + b, 4 + c]) for a, b, c in itertools.product(range(2), repeat=3)]
    values = [value(SquaredError(7.0), logits[:, batch], labels[batch], 3 / 6) for batch in batches]
    assert np.mean(values) == pytest.approx(squared(logits, labels) / 14, rel=1e-14)


def test_cross_entropy() -> None:
    expected = 0.0
    for i, label in enumerate(LABELS):
        expected -= np.log(np.exp(LOGITS[label, i]) / np.exp(LOGITS[:, i]).sum()) / len(LABELS)
    assert value(CrossEntropy(), LOGITS, LABELS, 0.5) == pytest.approx(expected, rel=1e-14)


def test_cross_entropy_of_large_logits_does_not_overflow() -> None:
    assert value(CrossEntropy(), 1e4 * LOGITS, LABELS, 1.0) == pytest.approx(
        np.mean([1e4 * (LOGITS[:, i].max() - LOGITS[label, i]) for i, label in enumerate(LABELS)]), rel=1e-6
    )


@pytest.mark.parametrize("loss_scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_none(loss_scale: float) -> None:
    with pytest.raises(ValueError, match="loss_scale Z must be positive"):
        SquaredError(loss_scale)
