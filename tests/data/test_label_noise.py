"""Wrong labels: as many as were asked for, no class grows or shrinks, and no permutation is preferred."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ntkflow.data import Samples, balanced_dataset, exchanged_labels
from ntkflow.errors import DataError


def noisy(classes: int, per_class: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels before and after."""
    labels = np.repeat(np.arange(classes), per_class)
    return labels, exchanged_labels(labels, classes, share, np.random.default_rng(seed), "mine")


@given(classes=st.integers(2, 7), per_class=st.integers(2, 9), share=st.floats(0.3, 1), seed=st.integers(0, 2**32 - 1))
def test_the_share_is_wrong_and_every_class_keeps_its_size(
    classes: int, per_class: int, share: float, seed: int
) -> None:
    wanted = round(share * classes * per_class)
    wanted -= wanted % 2 if classes == 2 else 0
    assume(wanted >= 2)
    labels, given_labels = noisy(classes, per_class, share, seed)
    assert np.sum(given_labels != labels) == wanted
    assert np.bincount(given_labels).tolist() == [per_class] * classes
    wrong = [int(np.sum(given_labels[labels == c] != c)) for c in range(classes)]
    assert max(wrong) - min(wrong) <= 1


def test_no_noise_and_nothing_but_noise() -> None:
    labels, given_labels = noisy(3, 4, 0.0)
    assert given_labels is labels
    labels, given_labels = noisy(2, 50, 1.0)
    np.testing.assert_array_equal(given_labels, 1 - labels)


@pytest.mark.parametrize(("classes", "per_class", "number"), [(3, 1, 2), (3, 2, 10), (4, 1, 9)])
def test_every_arrangement_without_a_fixed_class_is_as_likely(classes: int, per_class: int, number: int) -> None:
    """Against all of them, found by trying."""
    labels = np.repeat(np.arange(classes), per_class)
    possible = {p for p in permutations(labels.tolist()) if all(a != b for a, b in zip(p, labels, strict=True))}
    assert len(possible) == number
    found = Counter(tuple(noisy(classes, per_class, 1.0, seed)[1].tolist()) for seed in range(40 * number))
    assert set(found) == possible
    # 40 are expected of each, with a standard deviation below 7.
    assert all(15 < count < 65 for count in found.values()), found


def test_wrong_labels_are_of_all_other_classes_alike() -> None:
    labels, given_labels = noisy(4, 600, 0.5)
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (labels, given_labels), 1)
    assert np.diag(counts).tolist() == [300] * 4
    others = counts[~np.eye(4, dtype=bool)]
    assert abs(others - 100).max() < 40


def test_the_samples_that_are_wrong_are_drawn_anew_by_each_seed() -> None:
    wrong = [set(np.flatnonzero(np.not_equal(*noisy(5, 40, 0.2, seed))).tolist()) for seed in (1, 1, 2)]
    assert wrong[0] == wrong[1]
    # 40 of 200: 8 are expected to be in both.
    assert len(wrong[0] & wrong[2]) < 20


@pytest.mark.parametrize(("classes", "share"), [(3, 0.01), (3, 0.08), (2, 0.12)])
def test_shares_below_two_samples(classes: int, share: float) -> None:
    with pytest.raises(DataError) as caught:
        noisy(classes, 5, share)
    assert str(caught.value).startswith(
        f"mine, data.label_noise: {share:g} of {5 * classes} samples are fewer than the two that can exchange"
    )


def test_the_data_set_is_sorted_by_the_labels_that_were_given() -> None:
    """Each sample says its number; its true class is looked up in what went in."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 12))
    samples = Samples("mine", np.arange(48.0)[:, None], labels)
    clean = balanced_dataset(samples, samples_per_class=10, seed=5)
    made = balanced_dataset(samples, samples_per_class=10, seed=5, label_noise=0.3)
    numbers = np.asarray(made.inputs)[:, 0].astype(int)
    np.testing.assert_array_equal(made.labels, np.repeat(np.arange(4), 10))
    np.testing.assert_array_equal(made.true_labels, labels[numbers])
    assert np.sum(np.asarray(made.true_labels) != np.asarray(made.labels)) == 12
    assert sorted(numbers) == sorted(np.asarray(clean.inputs)[:, 0])
    np.testing.assert_array_equal(made.test_inputs, clean.test_inputs)
    np.testing.assert_array_equal(made.test_labels, labels[np.asarray(made.test_inputs)[:, 0].astype(int)])
    np.testing.assert_array_equal(clean.true_labels, clean.labels)
    assert ", 12 of them with the label of another class, " in str(made)
