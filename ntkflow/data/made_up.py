"""Made-up images of the shape of a data set that is not here: for tests of whether something runs, and nothing else."""

from __future__ import annotations

import numpy as np

from ntkflow.data.samples import Samples


def made_up_images(like: str, shape: tuple[int, int, int], *, classes: int = 10, per_class: int = 32) -> Samples:
    """A random picture for each class, and noise around it; always the same.

    Args:
        like: the data set whose shape they have; part of the name, so that nobody takes them for real.
        shape: (channels, rows, columns).
        classes: C.
        per_class: how many of each class for training, and again for testing.
    """
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (classes, 1, *shape))
    noisy = pictures + generator.normal(0, 64, (classes, 2 * per_class, *shape))
    pixels = np.clip(noisy, 0, 255).astype(np.uint8).reshape(classes, 2, per_class, -1)
    labels = np.repeat(np.arange(classes), per_class)
    return Samples(
        name=f"made-up images of the shape of {like}",
        inputs=pixels[:, 0].reshape(classes * per_class, -1),
        labels=labels,
        test_inputs=pixels[:, 1].reshape(classes * per_class, -1),
        test_labels=labels,
        image_shape=shape,
        unit=255.0,
        scale="pixels divided by 255, to [0, 1]",
        checked="nothing: they are random numbers",
    )
