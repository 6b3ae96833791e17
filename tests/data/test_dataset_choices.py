"""What can be chosen of a data set: precision, number of test samples, normalisation, images."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from ntkflow.data import Samples, balanced_dataset, class_targets
from ntkflow.errors import DataError

LABELS = np.arange(60) % 3
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 2 * 4 * 5)).astype(np.uint8)
PIXELS[:, 20:] //= 3  # The two channels differ.
IMAGES = Samples("mine", PIXELS, LABELS, image_shape=(2, 4, 5), unit=255.0, scale="over 255")


def test_float32_is_the_nearest_to_the_pixel_divided() -> None:
    made = balanced_dataset(IMAGES, samples_per_class=4, seed=0, dtype="float32", encoding="zero_centred")
    double = balanced_dataset(IMAGES, samples_per_class=4, seed=0)
    assert {made.inputs.dtype, made.targets.dtype, made.test_inputs.dtype, made.target_matrix.dtype} == {
        np.dtype("float32")
    }
    assert {double.inputs.dtype, double.targets.dtype, double.test_inputs.dtype} == {np.dtype("float64")}
    for single, exact in ((made.inputs, double.inputs), (made.test_inputs, double.test_inputs)):
        np.testing.assert_array_equal(single, np.asarray(exact).astype(np.float32))
    np.testing.assert_array_equal(double.inputs, np.rint(np.asarray(double.inputs) * 255) / 255)


@pytest.mark.parametrize("encoding", ["one_hot", "zero_centred"])
def test_targets_in_float32(encoding: str) -> None:
    np.testing.assert_allclose(class_targets(3, encoding, "float32"), class_targets(3, encoding), rtol=1e-7)


def test_without_64_bits_everything_is_float32() -> None:
    """And nothing warns: tests turn warnings into errors."""
    with jax.enable_x64(False):
        made = balanced_dataset(IMAGES, samples_per_class=4, seed=0, label_noise=0.5)
        assert made.inputs.dtype == made.targets.dtype == np.float32
        assert made.test_labels.dtype == made.true_labels.dtype == np.int32


def test_values_that_float32_cannot_hold() -> None:
    samples = Samples("mine", np.full((60, 2), 1e300), LABELS)
    assert balanced_dataset(samples, samples_per_class=2, seed=0).inputs.shape == (6, 2)
    with pytest.raises(DataError, match="mine: there are values that float32 cannot hold"):
        balanced_dataset(samples, samples_per_class=2, seed=0, dtype="float32")


def test_chosen_test_samples() -> None:
    """As many of each class, none of them trained on; the training samples are the same without that choice."""
    numbered = Samples("mine", np.arange(60.0)[:, None], LABELS)
    made = balanced_dataset(numbered, samples_per_class=8, test_samples_per_class=5, seed=1)
    every = balanced_dataset(numbered, samples_per_class=8, seed=1)
    np.testing.assert_array_equal(made.inputs, every.inputs)
    tested = np.asarray(made.test_inputs)[:, 0].astype(int)
    assert len(set(tested)) == 15
    assert not set(tested) & set(np.asarray(made.inputs)[:, 0].astype(int))
    np.testing.assert_array_equal(made.test_labels, np.repeat(np.arange(3), 5))
    np.testing.assert_array_equal(LABELS[tested], made.test_labels)
    assert every.test_inputs.shape == (36, 1)


def test_more_test_samples_than_are_left() -> None:
    with pytest.raises(DataError) as caught:
        balanced_dataset(IMAGES, samples_per_class=18, test_samples_per_class=3, seed=1)
    assert str(caught.value) == (
        "mine, data.test_samples_per_class: class 0 has 2 samples for testing, fewer than the 3 asked for\n"
        "  Ask for at most 2, or leave it away to test on all there are."
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_standardized_by_channel_of_the_training_samples(dtype: str) -> None:
    raw = balanced_dataset(IMAGES, samples_per_class=4, seed=0)
    made = balanced_dataset(IMAGES, samples_per_class=4, seed=0, standardized=True, dtype=dtype)
    assert made.inputs.dtype == np.dtype(dtype)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    constants = []
    for channel in range(2):
        taken = slice(20 * channel, 20 * channel + 20)
        values = np.asarray(raw.inputs)[:, taken]
        mean = sum(map(float, values.ravel())) / values.size
        deviation = (sum((float(value) - mean) ** 2 for value in values.ravel()) / values.size) ** 0.5
        for own, before in ((made.inputs, raw.inputs), (made.test_inputs, raw.test_inputs)):
            expected = (np.asarray(before)[:, taken] - mean) / deviation
            np.testing.assert_allclose(np.asarray(own)[:, taken], expected, rtol=tolerance, atol=tolerance)
        constants.append((mean, deviation))
    (first, wide), (second, narrow) = constants
    assert made.normalization == (
        f"over 255, minus the mean {first:.6g}, {second:.6g}, over the standard deviation {wide:.6g}, {narrow:.6g} of "
        "the training samples by channel"
    )


def test_standardized_vectors_are_one_channel() -> None:
    made = balanced_dataset(Samples("mine", PIXELS, LABELS), samples_per_class=20, seed=0, standardized=True)
    inputs = np.asarray(made.inputs)
    assert abs(inputs.mean()) < 1e-12
    assert inputs.std() == pytest.approx(1, rel=1e-12)
    assert made.test_inputs.shape == (0, 40)


def test_a_channel_without_any_difference() -> None:
    flat = PIXELS.copy()
    flat[:, 20:] = 7
    with pytest.raises(DataError, match=r"mine, data\.normalization: all values of channel 1 of the training samples"):
        balanced_dataset(
            Samples("mine", flat, LABELS, image_shape=(2, 4, 5)), samples_per_class=4, seed=0, standardized=True
        )


def test_images_and_rows_of_pixels_are_the_same_samples() -> None:
    made = balanced_dataset(IMAGES, samples_per_class=20, seed=0)
    images = made.as_images()
    assert (made.inputs.shape, made.test_inputs.shape) == ((60, 40), (0, 40))
    assert (images.inputs.shape, images.test_inputs.shape) == ((60, 2, 4, 5), (0, 2, 4, 5))
    assert images.inputs[7, 1, 2, 3] == made.inputs[7, 20 + 2 * 5 + 3]
    again = images.as_images()
    np.testing.assert_array_equal(again.inputs, images.inputs)


def test_vectors_are_no_images() -> None:
    made = balanced_dataset(Samples("mine", PIXELS, LABELS), samples_per_class=2, seed=0)
    with pytest.raises(DataError, match=r"mine: images are needed, and inputs are of shape \(40,\) each"):
        made.as_images()


def test_more_classes_than_there_are() -> None:
    with pytest.raises(DataError, match="there are 3 classes, fewer than the 4 asked for"):
        balanced_dataset(IMAGES, samples_per_class=2, classes=4, seed=0)
    with pytest.raises(DataError, match="classification needs at least 2 classes, not 1"):
        balanced_dataset(IMAGES, samples_per_class=2, classes=1, seed=0)


def test_classes_that_are_left_out_are_not_tested_on() -> None:
    made = balanced_dataset(IMAGES, classes=2, samples_per_class=2, seed=0)
    assert np.bincount(made.test_labels).tolist() == [18, 18]
