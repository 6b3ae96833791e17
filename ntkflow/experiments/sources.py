"""The data that a scenario names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ntkflow import scenario as schema
from ntkflow.data import Dataset, Precision, Samples, balanced_dataset, draw_per_class, read_source
from ntkflow.errors import DataError


def load_dataset(
    data: schema.Data, *, seed: int, folder: Path, dtype: Precision = "float64", samples: Samples | None = None
) -> Dataset:
    """The samples of a scenario; images are rows of pixels until :meth:`Dataset.as_images` is asked for.

    Args:
        data: which.
        seed: of the choice of samples.
        folder: where a relative path starts.
        dtype: of inputs and targets.
        samples: what takes the place of the source.

    Raises:
        DataError: data that cannot be used.
    """
    path = None if isinstance(data, schema.DigitsData | schema.MNIST5kData) else data.path
    return balanced_dataset(
        read_source(data.source, None if path is None else folder / path) if samples is None else samples,
        samples_per_class=data.samples_per_class,
        seed=seed,
        classes=None if isinstance(data, schema.FileData) else data.classes,
        test_samples_per_class=data.test_samples_per_class,
        encoding=data.labels,
        label_noise=data.label_noise,
        standardized=data.normalization == "standardized",
        dtype=dtype,
    )


def load_tested_dataset(data: schema.Data, *, seed: int, folder: Path, test_samples_per_class: int) -> Dataset:
    """The samples of a scenario with so many test samples of each class: those that are not trained on, or some.

    Raises:
        DataError: data that cannot be used, or a class with too few samples for testing.
    """
    whole = load_dataset(data, seed=seed, folder=folder)
    chosen = jnp.asarray(choose_test_samples(whole, per_class=test_samples_per_class, seed=seed))
    return dataclasses.replace(whole, test_inputs=whole.test_inputs[chosen], test_labels=whole.test_labels[chosen])


def choose_test_samples(dataset: Dataset, *, per_class: int, seed: int) -> np.ndarray:
    """Indices into the test samples: ``per_class`` of each class, drawn without replacement, sorted by class.

    Raises:
        DataError: a class with too few of them.
    """
    labels = np.asarray(dataset.test_labels)
    counts = np.bincount(labels, minlength=dataset.classes)
    short = int(np.argmin(counts))
    if counts[short] < per_class:
        raise DataError(
            f"class {short} has {counts[short]} samples left for testing, fewer than the {per_class} asked for",
            place=f"{dataset.name}, test_samples_per_class",
            remedy=f"Ask for at most {counts[short]}, or for fewer training samples.",
        )
    # A stream of its own: the training samples were drawn with the plain seed.
    chosen = draw_per_class(labels, dataset.classes, per_class, np.random.default_rng([seed, 1]))
    return np.sort(chosen.reshape(dataset.classes, per_class), axis=1).reshape(-1)
