"""The four IDX files that MNIST and FashionMNIST are published in, and how the two are told apart."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ntkflow.data.idx import read_idx
from ntkflow.data.official_files import find_file, require_folder
from ntkflow.errors import DataError

TRAINING, TESTING = 60_000, 10_000
ROWS = COLUMNS = 28
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# SHA-256 of the unpacked files, computed from those in Debian's package dataset-fashion-mnist.
FASHION_SHA256 = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)

# MNIST has no package to measure hashes from. Its classes are of unequal sizes, which no other data set shares.
MNIST_COUNTS = (
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
)


@dataclasses.dataclass(frozen=True)
class MnistFiles:
    """What the four files hold: right in format and shape, but of which data set is not known yet.

    Attributes:
        paths: training images and labels, test images and labels.
        images: of training and of testing.
        labels: of training and of testing.
    """

    paths: tuple[Path, Path, Path, Path]
    images: tuple[UInt8[np.ndarray, "train 28 28"], UInt8[np.ndarray, "test 28 28"]]
    labels: tuple[UInt8[np.ndarray, " train"], UInt8[np.ndarray, " test"]]

    def sha256(self, place: int) -> str:
        """Of the unpacked file at this place of ``paths``."""
        array = (self.images if place % 2 == 0 else self.labels)[place // 2]
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
        digest = hashlib.sha256(header)
        digest.update(array.tobytes())
        return digest.hexdigest()

    def has_counts_of_mnist(self) -> bool:
        """Whether training and test labels are as many of each class as MNIST's are."""
        return all(
            tuple(np.bincount(labels, minlength=10)) == counts
            for labels, counts in zip(self.labels, MNIST_COUNTS, strict=True)
        )


def read_mnist_files(folder: Path, name: str, how: str) -> MnistFiles:
    """The four files of a folder.

    Args:
        folder: where they are, gzipped or not.
        name: of the data set that they should be.
        how: the remedy where a file is missing.

    Raises:
        DataError: a file that is missing, damaged, of another format or shape, or labels beyond 9.
    """
    require_folder(folder, how)
    paths = [find_file(folder, _spellings(file), how) for file in FILES]
    arrays = []
    for place, (path, count) in enumerate(zip(paths, (TRAINING, TRAINING, TESTING, TESTING), strict=True)):
        part = f"{name}'s {('training', 'test')[place // 2]} {('images', 'labels')[place % 2]}"
        arrays.append(read_idx(path, (count, ROWS, COLUMNS)[: 3 if place % 2 == 0 else 1], part))
    for path, labels in ((paths[1], arrays[1]), (paths[3], arrays[3])):
        if labels.max() > 9:
            raise DataError(f"there is a label {labels.max()}, and {name}'s go from 0 to 9", place=str(path))
    first, second, third, fourth = paths
    return MnistFiles((first, second, third, fourth), (arrays[0], arrays[2]), (arrays[1], arrays[3]))


def holds_mnist_files(folder: Path) -> bool:
    """Whether files of all four names are in the folder, looked at by name only."""
    return all(any((folder / name).is_file() for name in _spellings(file)) for file in FILES)


def _spellings(file: str) -> tuple[str, ...]:
    """The published name, and the one that some programs give the file when they unpack it."""
    dotted = file.replace("-idx", ".idx")
    return (file, f"{file}.gz", dotted, f"{dotted}.gz")
