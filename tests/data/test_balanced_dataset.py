"""Any arrays as a balanced data set: chosen samples keep their labels, and what cannot be used is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkflow.data import Dataset, Samples, balanced_dataset
from ntkflow.errors import DataError


def make(inputs: np.ndarray, labels: np.ndarray, samples_per_class: int = 2, seed: int = 0) -> Dataset:
    return balanced_dataset(Samples("mine", inputs, labels), samples_per_class=samples_per_class, seed=seed)


def numbered(labels: np.ndarray) -> np.ndarray:
    """Inputs that say which sample they are and of which class."""
    return np.column_stack([np.arange(len(labels)), labels]).astype(float)


@given(
    counts=st.lists(st.integers(2, 7), min_size=2, max_size=5),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_every_sample_is_used_once_and_keeps_its_label(counts: list[int], seed: int, data: st.DataObject) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    m = data.draw(st.integers(2, min(counts)))
    made = make(numbered(labels), labels, m, seed)
    trained, tested = np.asarray(made.inputs), np.asarray(made.test_inputs)
    assert trained.shape == (m * len(counts), 2)
    np.testing.assert_array_equal(trained[:, 1], np.repeat(np.arange(len(counts)), m))
    np.testing.assert_array_equal(tested[:, 1], made.test_labels)
    assert sorted([*trained[:, 0], *tested[:, 0]]) == list(range(len(labels)))


def test_inputs_of_any_shape_stay_what_they_are() -> None:
    images = np.arange(6 * 2 * 3 * 4, dtype=np.uint8).reshape(6, 2, 3, 4)
    made = make(images, np.array([0, 1, 0, 1, 0, 1]))
    assert made.inputs.shape == (4, 2, 3, 4)
    assert made.inputs.dtype == np.float64
    for sample, label in zip(np.asarray(made.inputs), np.asarray(made.labels), strict=True):
        matches = [i for i in range(6) if np.array_equal(images[i], sample)]
        assert len(matches) == 1
        assert matches[0] % 2 == label


def refusal(inputs: np.ndarray, labels: np.ndarray, samples_per_class: int = 2) -> str:
    with pytest.raises(DataError) as caught:
        make(inputs, labels, samples_per_class)
    return str(caught.value)


def test_too_few_samples_of_a_class() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    assert refusal(numbered(labels), labels, 3) == (
        "mine, data.samples_per_class: class 1 has 2 samples, fewer than the 3 asked for\n"
        "  Ask for at most 2: every class must have the same number of training samples."
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad: float) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    inputs = numbered(labels)
    inputs[4, 1] = bad
    assert refusal(inputs, labels) == (
        "mine: 1 of 6 samples have values that are NaN or infinite, the first is sample 4\n"
        "  Remove these samples, or replace the values, before making the file."
    )


def test_the_first_of_several_bad_samples_is_named() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    inputs = np.zeros((6, 2, 2))
    inputs[5, 1, 1], inputs[2, 0, 1], inputs[2, 1, 0] = np.nan, np.inf, np.nan
    assert "2 of 6 samples" in refusal(inputs, labels)
    assert "the first is sample 2" in refusal(inputs, labels)


def test_negative_labels() -> None:
    labels = np.array([0, 0, -1, -1])
    assert refusal(numbered(labels), labels) == "mine: labels must be whole numbers from 0 to C - 1"


def test_one_class_only() -> None:
    labels = np.zeros(4, dtype=int)
    assert refusal(numbered(labels), labels) == "mine: there is only one class; classification needs at least 2"


def test_more_inputs_than_labels() -> None:
    labels = np.array([0, 0, 1, 1])
    assert refusal(np.zeros((5, 2)), labels) == "mine: 5 inputs but 4 labels"


def test_no_samples_at_all() -> None:
    assert "mine: " in refusal(np.zeros((0, 3)), np.zeros(0, dtype=int))


def test_samples_without_a_single_value() -> None:
    """A network with no inputs cannot be initialised: better refused here than divided by zero there."""
    labels = np.array([0, 0, 1, 1])
    assert "mine: " in refusal(np.zeros((4, 0)), labels)


def test_labels_that_start_at_1() -> None:
    """The commonest mistake with labels; to ask for at most 0 samples would be no remedy."""
    labels = np.array([1, 1, 2, 2])
    said = refusal(numbered(labels), labels)
    assert "mine" in said
    assert "at most 0" not in said


def test_a_label_far_beyond_the_others() -> None:
    """A row number or a code in place of a class: refused, not counted up to in memory."""
    labels = np.array([0, 0, 1, 10**15])
    assert "mine" in refusal(numbered(labels), labels)
