"""A balanced data set on the device, samples sorted by class."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from ntkflow.data.first_samples import first_of_each
from ntkflow.data.label_noise import exchanged_labels
from ntkflow.data.labels import LabelEncoding, class_targets
from ntkflow.data.normalization import Precision, Standardization, scaled
from ntkflow.data.samples import Samples
from ntkflow.errors import DataError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Training samples, m of each of C classes, sorted by class, and the samples to test on.

    Attributes:
        name: what reports call it.
        inputs: (N, …), N = C·m.
        targets: column c is the target of class c.
        test_inputs: samples that are not trained on, any class balance.
        test_labels: their classes.
        normalization: what was done to the raw values.
        image_shape: (channels, rows, columns) of a sample; None if samples are no images.
        original_labels: with label noise, the class that each training sample really has; None without noise.
    """

    name: str
    inputs: Float[Array, "samples ..."]
    targets: Float[Array, "classes classes"]
    test_inputs: Float[Array, "test_samples ..."]
    test_labels: Int[Array, " test_samples"]
    normalization: str
    image_shape: tuple[int, int, int] | None = None
    original_labels: Int[Array, " samples"] | None = None

    @property
    def classes(self) -> int:
        """C."""
        return self.targets.shape[1]

    @property
    def per_class(self) -> int:
        """m."""
        return self.inputs.shape[0] // self.classes

    @property
    def labels(self) -> Int[Array, " samples"]:
        """The class given to every training sample: 0 m times, then 1 m times, and so on."""
        return jnp.repeat(jnp.arange(self.classes), self.per_class)

    @property
    def true_labels(self) -> Int[Array, " samples"]:
        """The class that every training sample really has: ``labels``, but for label noise."""
        return self.labels if self.original_labels is None else self.original_labels

    @property
    def target_matrix(self) -> Float[Array, "classes samples"]:
        """Y: the target of every training sample as a column."""
        return jnp.repeat(self.targets, self.per_class, axis=1)

    def first_of_each(self, per_class: int) -> Dataset:
        """The same with the first ``per_class`` training samples of each class only.

        Raises:
            DataError: there are fewer.
        """
        m, classes = self.per_class, self.classes
        if not 1 <= per_class <= m:
            raise DataError(
                f"{per_class} samples of each class are asked for, and there are {m}",
                place=self.name,
                remedy=f"Take 1 to {m}.",
            )
        original = self.original_labels
        return dataclasses.replace(
            self,
            inputs=first_of_each(self.inputs, classes, per_class),
            original_labels=None if original is None else first_of_each(original, classes, per_class),
        )

    def as_images(self) -> Dataset:
        """The same samples with inputs of shape (channels, rows, columns) each.

        Raises:
            DataError: samples that are no images.
        """
        if self.image_shape is None:
            raise DataError(
                f"images are needed, and inputs are of shape {self.inputs.shape[1:]} each",
                place=self.name,
                remedy="Write inputs of shape (samples, rows, columns) or (samples, channels, rows, columns), or take "
                "a network that needs no images, such as kind: mlp.",
            )
        return dataclasses.replace(
            self,
            inputs=self.inputs.reshape(len(self.inputs), *self.image_shape),
            test_inputs=self.test_inputs.reshape(len(self.test_inputs), *self.image_shape),
        )

    def __str__(self) -> str:
        noise = ""
        if self.original_labels is not None:
            wrong = int(jnp.sum(self.original_labels != self.labels))
            noise = f", {wrong} of them with the label of another class"
        return (
            f"{self.name}: {self.inputs.shape[0]} training samples, {self.per_class} of each of {self.classes} "
            f"classes{noise}, shape {self.inputs.shape[1:]}, {self.normalization}; "
            f"{self.test_inputs.shape[0]} test samples"
        )


def balanced_dataset(
    samples: Samples,
    *,
    samples_per_class: int,
    seed: int,
    classes: int | None = None,
    test_samples_per_class: int | None = None,
    encoding: LabelEncoding = "one_hot",
    label_noise: float = 0.0,
    standardized: bool = False,
    dtype: Precision = "float64",
) -> Dataset:
    """Draw samples of every class at random, sort them by class, and bring them to the device.

    Which samples are drawn depends on the seed and on their number only: label noise, test samples and precision have
    random numbers of their own, or none.

    Args:
        samples: what there is.
        samples_per_class: m, for training.
        seed: of everything random.
        classes: the first C of the source's classes; all unless told.
        test_samples_per_class: drawn from the source's own test samples or, if it has none, from those that are not
            trained on; all of them unless told.
        encoding: of the targets.
        label_noise: share of the training samples that get another class's label, see
            :func:`ntkflow.data.label_noise.exchanged_labels`. Samples are sorted by the label they were given.
        standardized: whether each channel is brought to mean 0 and standard deviation 1 over the training samples.
        dtype: of inputs and targets. Without JAX's 64-bit mode everything is float32.

    Raises:
        DataError: values that are not finite, labels without samples in between, or a class with too few samples.
    """
    name = samples.name
    samples.require_usable()
    inputs, labels = samples.inputs, samples.labels
    counts = np.bincount(labels)
    classes = len(counts) if classes is None else classes
    if classes > len(counts):
        raise DataError(f"there are {len(counts)} classes, fewer than the {classes} asked for", place=name)
    if classes < 2:
        raise DataError(f"classification needs at least 2 classes, not {classes}", place=name)
    _require(name, counts[:classes], samples_per_class)
    chosen = draw_per_class(labels, classes, samples_per_class, np.random.default_rng(seed))
    given = np.repeat(np.arange(classes), samples_per_class)
    noise_generator = np.random.default_rng([seed, 2])
    noisy = exchanged_labels(given, classes, label_noise, noise_generator, name)
    by_given_label = np.argsort(noisy, kind="stable")
    if samples.test_inputs is None or samples.test_labels is None:
        rest = np.setdiff1d(np.flatnonzero(labels < classes), chosen)
        test_inputs, test_labels = inputs[rest], labels[rest]
    else:
        test_inputs, test_labels = samples.test_inputs, samples.test_labels
        if classes < len(counts):
            wanted = test_labels < classes
            test_inputs, test_labels = test_inputs[wanted], test_labels[wanted]
    if test_samples_per_class is not None:
        _require(name, np.bincount(test_labels, minlength=classes), test_samples_per_class, testing=True)
        drawn = draw_per_class(test_labels, classes, test_samples_per_class, np.random.default_rng([seed, 3]))
        test_inputs, test_labels = test_inputs[drawn], test_labels[drawn]
    trained, tested = (
        scaled(values, samples.unit, dtype, name) for values in (inputs[chosen[by_given_label]], test_inputs)
    )
    normalization = samples.scale
    if standardized:
        channels = 1 if samples.image_shape is None else samples.image_shape[0]
        constants = Standardization.of(trained, channels, name)
        trained, tested = constants.apply(trained), constants.apply(tested)
        normalization = f"{normalization}, {constants}"
    return Dataset(
        name=name,
        inputs=jnp.asarray(trained),
        targets=class_targets(classes, encoding, dtype),
        test_inputs=jnp.asarray(tested),
        test_labels=jnp.asarray(test_labels.astype(int)),
        normalization=normalization,
        image_shape=samples.image_shape,
        original_labels=jnp.asarray(given[by_given_label]) if label_noise else None,
    )


def draw_per_class(
    labels: Integer[np.ndarray, " samples"], classes: int, per_class: int, generator: np.random.Generator
) -> Int[np.ndarray, " chosen"]:
    """Indices of ``per_class`` samples of each of the first classes, drawn without replacement, class by class."""
    return np.concatenate(
        [generator.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in range(classes)]
    )


def _require(name: str, counts: np.ndarray, wanted: int, *, testing: bool = False) -> None:
    short = int(np.argmin(counts))
    if counts[short] >= wanted:
        return
    key, purpose = ("test_samples_per_class", " for testing") if testing else ("samples_per_class", "")
    remedy = f"Ask for at most {counts[short]}"
    if testing:
        remedy = f"{remedy}, or leave it away to test on all there are."
    else:
        remedy = f"{remedy}: every class must have the same number of training samples."
    raise DataError(
        f"class {short} has {counts[short]} samples{purpose}, fewer than the {wanted} asked for",
        place=f"{name}, data.{key}",
        remedy=remedy,
    )
