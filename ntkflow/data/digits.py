"""scikit-learn's 8×8 handwritten digits: 1 797 real images that come with the package."""

from __future__ import annotations

import numpy as np

from ntkflow.data.dataset import Dataset, balanced_dataset
from ntkflow.data.labels import LabelEncoding
from ntkflow.data.samples import Samples


def read_digits() -> Samples:
    """All 1 797 images, 174 to 183 of each digit, pixels from 0 to 16."""
    from sklearn.datasets import load_digits as load  # scikit-learn takes a second to import.

    images, labels = map(np.asarray, load(return_X_y=True))
    return Samples(
        "scikit-learn digits",
        images,
        labels.astype(int),
        image_shape=(1, 8, 8),
        unit=16.0,
        scale="pixels divided by 16, to [0, 1]",
        checked="read by scikit-learn, which brings them",
    )


def load_digits(
    *, classes: int = 10, samples_per_class: int, encoding: LabelEncoding = "one_hot", seed: int
) -> Dataset:
    """The digits 0 … classes−1, pixels divided by 16 so that they lie in [0, 1].

    Raises:
        DataError: if a digit has fewer than ``samples_per_class`` images (the rarest, 8, has 174).
    """
    return balanced_dataset(
        read_digits(), classes=classes, samples_per_class=samples_per_class, encoding=encoding, seed=seed
    )
