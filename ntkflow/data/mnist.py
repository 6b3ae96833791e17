"""MNIST: 70 000 handwritten digits of 28×28 pixels, from the published files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ntkflow.data.mnist_files import COLUMNS, FASHION_SHA256, FILES, MNIST_COUNTS, ROWS, read_mnist_files
from ntkflow.data.samples import Samples
from ntkflow.errors import DataError

HOW = f"Name a folder with the four published files, gzipped or not: {', '.join(FILES)}."


def read_mnist(folder: Path) -> Samples:
    """The 60 000 training and 10 000 test images of MNIST.

    The files are checked by format, shape and the number of images of each class, which are MNIST's own; their hashes
    are not known here.

    Raises:
        DataError: a file that is missing, damaged or cut off, of another format or shape, or another data set's.
    """
    files = read_mnist_files(folder, "MNIST", HOW)
    for place in (0, 2):
        if files.sha256(place) == FASHION_SHA256[place]:
            raise DataError(
                "this is FashionMNIST, and not MNIST",
                place=str(files.paths[place]),
                remedy="Take source: fashion_mnist for it, or name the folder of MNIST.",
            )
    for place, labels, counts in zip((1, 3), files.labels, MNIST_COUNTS, strict=True):
        held = np.bincount(labels, minlength=10)
        if (wrong := np.flatnonzero(held != counts)).size:
            digit = int(wrong[0])
            raise DataError(
                f"these are not the labels of MNIST: {held[digit]} of them are {digit}, and not {counts[digit]}",
                place=str(files.paths[place]),
                remedy=HOW,
            )
    return Samples(
        "MNIST",
        *(part for images, labels in zip(files.images, files.labels, strict=True) for part in (_rows(images), labels)),
        image_shape=(1, ROWS, COLUMNS),
        unit=255.0,
        scale="pixels divided by 255, to [0, 1]",
        checked="format, shape and class counts are those of the published files; their hashes are not known",
    )


def _rows(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)
