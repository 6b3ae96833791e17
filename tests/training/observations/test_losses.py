"""Losses and accuracies, sample by sample with the mathematics module."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from training.observations.cases import (
    CASES,
    EXACT,
    LABELS,
    SAMPLES,
    TARGETS,
    TEST_LABELS,
    TESTS,
    TRUE_LABELS,
    Z,
    close,
    moment,
    network,
    observed,
    plain_outputs,
    values,
)

from ntkflow.training.observations import LossObservation, Moment, Objective


def by_hand(logits: np.ndarray, labels: list[int]) -> tuple[float, float, int]:
    """Σ‖f − y‖², Σ cross-entropy, number of wrong ones."""
    squared, entropy, wrong = 0.0, 0.0, 0
    for i, label in enumerate(labels):
        column = [float(value) for value in logits[:, i]]
        squared += sum((f - y) ** 2 for f, y in zip(column, TARGETS[:, label], strict=True))
        entropy += math.log(sum(math.exp(f) for f in column)) - column[label]
        wrong += column.index(max(column)) != label
    return squared, entropy, wrong


@pytest.mark.parametrize("case", CASES)
def test_both_splits(case: str) -> None:
    found = values(case)["losses"]
    for split, (which, labels) in enumerate((("train", LABELS), ("test", TEST_LABELS))):
        squared, entropy, wrong = by_hand(plain_outputs(case, which)[1], labels)
        scale = Z * len(labels) / SAMPLES
        loss = entropy / scale if case == "entropy" else squared / (2 * scale)
        close(found["loss"][split], loss, EXACT[case])
        close(found["squared_error"][split], squared / (2 * scale), EXACT[case])
        close(found["cross_entropy"][split], entropy / len(labels), EXACT[case])
        assert found["misclassified"][split] == wrong
        assert found["accuracy"][split] == 1 - wrong / len(labels)
    assert 0 < found["misclassified"][0] < SAMPLES
    assert len(TEST_LABELS) == TESTS


def test_accuracy_against_true_labels() -> None:
    said = plain_outputs("mlp")[1].argmax(axis=0)
    expected = sum(int(k) == true for k, true in zip(said, TRUE_LABELS, strict=True)) / SAMPLES
    found = values("mlp")["losses"]
    assert found["true_accuracy"] == expected
    assert found["true_accuracy"] != found["accuracy"][0]


def test_without_test_samples_and_true_labels() -> None:
    whole = observed("mlp")
    bare = dataclasses.replace(
        whole, test_inputs=jnp.zeros((0, 4)), test_labels=jnp.zeros(0, int), true_labels=None, piece=100
    )
    found = LossObservation().measure(Moment(network("mlp", 1), bare, 0, 0, 0.0), {})
    assert set(found) == {variable.name for variable in LossObservation().variables(bare)}
    assert "true_accuracy" not in found
    for name, array in found.items():
        assert np.isnan(array[1]), name
        close(array[0], values("mlp")["losses"][name][0], 1e-12)


def test_logits_of_a_thousand() -> None:
    """e^1000 is no number of the machine's, its logarithm is."""
    net = network("mlp")
    large = eqx.tree_at(lambda net: net.readout.weight, net, 1e4 * net.readout.weight)
    found = LossObservation().measure(dataclasses.replace(moment("mlp"), network=large), {})
    assert np.isfinite(found["cross_entropy"]).all()
    assert found["cross_entropy"][0] > 100


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_objectives_that_are_none(scale: float) -> None:
    with pytest.raises(ValueError, match="Z must be positive and finite"):
        Objective("squared_error", scale)
