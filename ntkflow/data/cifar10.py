"""CIFAR-10: 60 000 colour pictures of 32×32 pixels, from the published binary or Python batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ntkflow.data.cifar_pickle import read_pickled_batch
from ntkflow.data.official_files import find_file, read_whole, require_folder
from ntkflow.data.samples import Samples
from ntkflow.errors import DataError

IMAGES = 10_000  # In each batch.
SHAPE = (3, 32, 32)
BATCHES = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
# The names of the folders inside the published archives.
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
HOW = (
    "Name a folder with the published batches, data_batch_1.bin … data_batch_5.bin and test_batch.bin, or those of "
    "the Python version, which have the same names without .bin."
)
_PIXELS = int(np.prod(SHAPE))
_MOST = 1 << 26  # Twice a published batch.


def read_cifar10(folder: Path) -> Samples:
    """The 50 000 training and 10 000 test images of CIFAR-10.

    The batches are checked by format, size and the number of images of each class, 5 000 in training and 1 000 in
    testing; their hashes are not known here. If a folder has both versions the binary one is read.

    Raises:
        DataError: a file that is missing, damaged or cut off, of another format or size, or another data set's.
    """
    require_folder(folder, HOW)
    place = next((folder / name for name in FOLDERS if (folder / name).is_dir()), folder)
    binary = any((place / f"{name}.bin").is_file() for name in BATCHES)
    batches = []
    for name in BATCHES:
        path = find_file(place, [f"{name}.bin" if binary else name], HOW)
        data = read_whole(path, most=_MOST)
        batches.append(_binary_batch(data, path) if binary else read_pickled_batch(data, path, (IMAGES, _PIXELS)))
    *training, (test_images, test_labels) = batches
    images, labels = (np.concatenate(parts) for parts in zip(*training, strict=True))
    for part, held, count in (("training", labels, 5 * IMAGES // 10), ("test", test_labels, IMAGES // 10)):
        counts = np.bincount(held, minlength=10)
        if (wrong := np.flatnonzero(counts != count)).size:
            raise DataError(
                f"these are not the {part} batches of CIFAR-10: {counts[wrong[0]]} images are of class {wrong[0]}, "
                f"and not {count}",
                place=str(place),
                remedy="Were batches exchanged, or one copied over another? Unpack the published archive again.",
            )
    return Samples(
        "CIFAR-10",
        images,
        labels,
        test_images,
        test_labels,
        image_shape=SHAPE,
        unit=255.0,
        scale="pixels divided by 255, to [0, 1]",
        checked="format, size and class counts are those of the published batches; their hashes are not known",
    )


def _binary_batch(data: bytes, path: Path) -> tuple[UInt8[np.ndarray, "samples pixels"], UInt8[np.ndarray, " samples"]]:
    """Of each image a byte with its label, then the red pixels, the green, and the blue, row by row."""
    size = IMAGES * (1 + _PIXELS)
    if len(data) != size:
        fault = "is cut off, or no batch of CIFAR-10" if len(data) < size else "is no batch of CIFAR-10"
        held = f"{len(data)} bytes" if len(data) <= _MOST else f"more than {_MOST} bytes"
        raise DataError(
            f"{fault}: it holds {held}, and a batch has {size}", place=str(path), remedy="Take the published file."
        )
    rows = np.frombuffer(data, np.uint8).reshape(IMAGES, 1 + _PIXELS)
    labels, images = rows[:, 0], rows[:, 1:]
    if labels.max() > 9:
        raise DataError(
            f"is no batch of CIFAR-10: image {int(np.argmax(labels > 9))} has the label {labels[labels > 9][0]}, and "
            "labels go from 0 to 9",
            place=str(path),
            remedy="Take the published file.",
        )
    return images, labels
