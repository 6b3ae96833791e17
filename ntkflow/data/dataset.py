"""A balanced data set on the device, samples sorted by class."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from ntkflow.data.labels import LabelEncoding, class_targets
from ntkflow.errors import DataError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Training samples, m of each of C classes, sorted by class, and the samples left over for testing.

    Attributes:
        name: what reports call it.
        inputs: (N, …) float64, N = C·m.
        targets: column c is the target of class c.
        test_inputs: the samples not used for training, any class balance.
        test_labels: their classes.
        normalization: what was done to the raw values.
    """

    name: str
    inputs: Float[Array, "samples ..."]
    targets: Float[Array, "classes classes"]
    test_inputs: Float[Array, "test_samples ..."]
    test_labels: Int[Array, " test_samples"]
    normalization: str

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
        """The class of every training sample: 0 m times, then 1 m times, and so on."""
        return jnp.repeat(jnp.arange(self.classes), self.per_class)

    @property
    def target_matrix(self) -> Float[Array, "classes samples"]:
        """Y: the target of every training sample as a column."""
        return jnp.repeat(self.targets, self.per_class, axis=1)

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.inputs.shape[0]} training samples, {self.per_class} of each of {self.classes} "
            f"classes, shape {self.inputs.shape[1:]}, {self.normalization}; {self.test_inputs.shape[0]} test samples"
        )


def balanced_dataset(
    name: str,
    inputs: Num[np.ndarray, "samples ..."],
    labels: Int[np.ndarray, " labels"],
    *,
    samples_per_class: int,
    encoding: LabelEncoding,
    normalization: str,
    seed: int,
) -> Dataset:
    """Draw ``samples_per_class`` samples of every class at random, sort them by class, keep the rest for testing.

    Raises:
        DataError: values that are not finite, labels without samples in between, or a class with too few samples.
    """
    if len(inputs) != len(labels):
        raise DataError(f"{len(inputs)} inputs but {len(labels)} labels", place=name)
    if inputs.size == 0:
        raise DataError(f"there is nothing in inputs of shape {inputs.shape}", place=name)
    bad = np.flatnonzero(~np.isfinite(inputs.reshape(len(inputs), -1)).all(axis=1))
    if bad.size:
        raise DataError(
            f"{bad.size} of {len(inputs)} samples have values that are NaN or infinite, the first is sample {bad[0]}",
            place=name,
            remedy="Remove these samples, or replace the values, before making the file.",
        )
    if labels.min() < 0:
        raise DataError("labels must be whole numbers from 0 to C - 1", place=name)
    unused = np.setdiff1d(np.arange(min(int(labels.max()) + 1, len(labels) + 1)), labels)
    if unused.size:
        raise DataError(
            f"labels must be whole numbers from 0 to C - 1, each in use, but {unused[0]} is not; the largest is "
            f"{labels.max()}",
            place=name,
            remedy="Number the classes from 0 without gaps.",
        )
    counts = np.bincount(labels)
    if len(counts) < 2:
        raise DataError("there is only one class; classification needs at least 2", place=name)
    short = int(np.argmin(counts))
    if counts[short] < samples_per_class:
        raise DataError(
            f"class {short} has {counts[short]} samples, fewer than the {samples_per_class} asked for",
            place=f"{name}, data.samples_per_class",
            remedy=f"Ask for at most {counts[short]}: every class must have the same number of training samples.",
        )
    generator = np.random.default_rng(seed)
    chosen = np.concatenate(
        [generator.choice(np.flatnonzero(labels == c), samples_per_class, replace=False) for c in range(len(counts))]
    )
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return Dataset(
        name=name,
        inputs=jnp.asarray(inputs[chosen], dtype=float),
        targets=class_targets(len(counts), encoding),
        test_inputs=jnp.asarray(inputs[rest], dtype=float),
        test_labels=jnp.asarray(labels[rest]),
        normalization=normalization,
    )
