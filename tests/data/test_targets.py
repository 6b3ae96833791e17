"""Targets: unit vectors, or unit vectors centred over the outputs."""

from __future__ import annotations

import numpy as np
import pytest

from ntkflow.data import class_targets, load_digits


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_one_hot(classes: int) -> None:
    targets = np.asarray(class_targets(classes, "one_hot"))
    assert targets.shape == (classes, classes)
    for c in range(classes):
        assert [targets[k, c] for k in range(classes)] == [float(k == c) for k in range(classes)]


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_zero_centred(classes: int) -> None:
    targets = np.asarray(class_targets(classes, "zero_centred"))
    for c in range(classes):
        for k in range(classes):
            assert targets[k, c] == pytest.approx((1 if k == c else 0) - 1 / classes, abs=1e-16)
    np.testing.assert_allclose(targets.sum(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(targets.sum(axis=1), 0, atol=1e-15)


def test_a_dataset_repeats_them_sample_by_sample() -> None:
    dataset = load_digits(classes=3, samples_per_class=2, encoding="zero_centred", seed=0)
    third = 1 / 3
    expected = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]) - third
    np.testing.assert_allclose(dataset.target_matrix, expected, atol=1e-15)
    # The sum over a balanced data set vanishes too: no output has a mean to learn.
    np.testing.assert_allclose(np.asarray(dataset.target_matrix).sum(axis=1), 0, atol=1e-14)
