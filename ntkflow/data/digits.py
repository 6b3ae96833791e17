"""scikit-learn's 8×8 handwritten digits: 1 797 real images that come with the package."""

from __future__ import annotations

import numpy as np

from ntkflow.data.dataset import Dataset, balanced_dataset
from ntkflow.data.labels import LabelEncoding


def load_digits(
    *, classes: int = 10, samples_per_class: int, encoding: LabelEncoding = "one_hot", seed: int
) -> Dataset:
    """The digits 0 … classes−1, pixels divided by 16 so that they lie in [0, 1].

    Raises:
        DataError: if a digit has fewer than ``samples_per_class`` images (the rarest, 8, has 174).
    """
    from sklearn.datasets import load_digits as load  # scikit-learn takes a second to import.

    images, labels = map(np.asarray, load(return_X_y=True))
    wanted = labels < classes
    return balanced_dataset(
        "scikit-learn digits",
        images[wanted] / 16.0,
        labels[wanted],
        samples_per_class=samples_per_class,
        encoding=encoding,
        normalization="pixels divided by 16, to [0, 1]",
        seed=seed,
    )
