"""The data that a scenario names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ntkflow import scenario as schema
from ntkflow.data import Dataset, load_digits, load_file
from ntkflow.errors import DataError


def load_dataset(data: schema.Data, *, seed: int, folder: Path) -> Dataset:
    """The samples of a scenario.

    Args:
        data: which.
        seed: of the choice of samples.
        folder: where a relative path starts.

    Raises:
        DataError: data that cannot be used.
    """
    match data:
        case schema.DigitsData():
            return load_digits(
                classes=data.classes, samples_per_class=data.samples_per_class, encoding=data.labels, seed=seed
            )
        case schema.FileData():
            return load_file(
                folder / data.path, samples_per_class=data.samples_per_class, encoding=data.labels, seed=seed
            )


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
    generator = np.random.default_rng([seed, 1])
    return np.concatenate(
        [
            np.sort(generator.choice(np.flatnonzero(labels == c), per_class, replace=False))
            for c in range(dataset.classes)
        ]
    )
