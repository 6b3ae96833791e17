"""The digits are scikit-learn's own images, in the classes, numbers and order that were asked for."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sklearn

from ntkflow.data import Dataset, load_digits
from ntkflow.errors import DataError


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    """The file inside scikit-learn, read without scikit-learn: 64 pixels from 0 to 16, then the digit."""
    path = Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as stream:
        return np.loadtxt(stream, delimiter=",", dtype=int)


def rows(inputs: np.ndarray, labels: np.ndarray) -> list[tuple[int, ...]]:
    """Pixels and digit of every sample as whole numbers."""
    pixels = np.asarray(inputs) * 16
    np.testing.assert_array_equal(pixels, np.rint(pixels))
    return [tuple(row) for row in np.column_stack([np.rint(pixels).astype(int), np.asarray(labels)]).tolist()]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(samples_per_class=20, seed=3)


def test_train_and_test_samples_together_are_the_file(digits: Dataset, raw: np.ndarray) -> None:
    """As multisets of (pixels, digit): nothing is lost, nothing is in both, no label is exchanged."""
    own = rows(digits.inputs, digits.labels) + rows(digits.test_inputs, digits.test_labels)
    assert Counter(own) == Counter(map(tuple, raw.tolist()))


def test_every_class_has_its_number_and_they_are_sorted(digits: Dataset) -> None:
    assert digits.inputs.shape == (200, 64)
    assert digits.test_inputs.shape == (1597, 64)
    assert (digits.classes, digits.per_class) == (10, 20)
    np.testing.assert_array_equal(digits.labels, [digit for digit in range(10) for _ in range(20)])


def test_pixels_lie_between_0_and_1_and_reach_both(digits: Dataset) -> None:
    assert digits.inputs.dtype == np.float64
    assert (np.asarray(digits.inputs).min(), np.asarray(digits.inputs).max()) == (0.0, 1.0)


def test_fewer_classes_are_the_first_digits(raw: np.ndarray) -> None:
    three = load_digits(classes=3, samples_per_class=5, seed=0)
    own = rows(three.inputs, three.labels) + rows(three.test_inputs, three.test_labels)
    assert Counter(own) == Counter(map(tuple, raw[raw[:, -1] < 3].tolist()))


def test_one_seed_one_choice() -> None:
    first, again, other = (load_digits(samples_per_class=6, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.test_inputs, again.test_inputs)
    np.testing.assert_array_equal(first.labels, other.labels)
    same = sum(row in set(rows(other.inputs, other.labels)) for row in rows(first.inputs, first.labels))
    assert same < 15, "two seeds draw mostly the same of 1 797 images"


def test_the_choice_is_not_the_first_images_of_a_class(digits: Dataset, raw: np.ndarray) -> None:
    for digit in range(10):
        of_class = [tuple(row) for row in raw[raw[:, -1] == digit].tolist()]
        places = [of_class.index(row) for row in rows(digits.inputs, digits.labels)[20 * digit : 20 * digit + 20]]
        assert max(places) > 60


def test_as_many_as_the_rarest_digit_has() -> None:
    assert load_digits(samples_per_class=174, seed=0).inputs.shape == (1740, 64)


def test_one_more_than_the_rarest_digit_has() -> None:
    with pytest.raises(DataError) as caught:
        load_digits(samples_per_class=175, seed=0)
    assert str(caught.value) == (
        "scikit-learn digits, data.samples_per_class: class 8 has 174 samples, fewer than the 175 asked for\n"
        "  Ask for at most 174: every class must have the same number of training samples."
    )


def test_it_prints_what_it_holds(digits: Dataset) -> None:
    assert str(digits) == (
        "scikit-learn digits: 200 training samples, 20 of each of 10 classes, shape (64,), "
        "pixels divided by 16, to [0, 1]; 1597 test samples"
    )


def test_they_are_images_of_one_channel(raw: np.ndarray) -> None:
    two = load_digits(samples_per_class=2, seed=0)
    assert (two.inputs.shape, two.as_images().inputs.shape) == ((20, 64), (20, 1, 8, 8))
    known = {tuple(row) for row in raw[:, :-1].tolist()}
    assert all(tuple((image[0] * 16).ravel()) in known for image in np.asarray(two.as_images().inputs))
