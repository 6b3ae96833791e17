"""Files in the formats of the published data sets, written byte by byte from the formats' descriptions."""

from __future__ import annotations

import functools
import struct
from pathlib import Path

import numpy as np

MNIST_TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
MNIST_TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


def idx(array: np.ndarray) -> bytes:
    """Two zeros, 8 for unsigned bytes, the number of dimensions, each as a big-endian word, the values."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def shuffled(counts: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.uint8)


def numbered(count: int, pixels: int, first: int) -> np.ndarray:
    """Images that are dark but for their number in the first three pixels, so that each can be told from the others."""
    images = np.zeros((count, pixels), np.uint8)
    images[:, :3] = np.arange(first, first + count, dtype=">u4").view(np.uint8).reshape(count, 4)[:, 1:]
    return images


def numbers(images: np.ndarray) -> np.ndarray:
    """The numbers of such images, whose pixels were brought to [0, 1]."""
    return np.rint(np.asarray(images).reshape(len(images), -1)[:, :3] * 255).astype(int) @ [65536, 256, 1]


@functools.cache
def mnist_arrays() -> dict[str, np.ndarray]:
    """As many images of each digit as MNIST has, in the shapes it has."""
    return {
        "train-images-idx3-ubyte": numbered(60_000, 784, 0).reshape(-1, 28, 28),
        "train-labels-idx1-ubyte": shuffled(MNIST_TRAIN, 0),
        "t10k-images-idx3-ubyte": numbered(10_000, 784, 60_000).reshape(-1, 28, 28),
        "t10k-labels-idx1-ubyte": shuffled(MNIST_TEST, 1),
    }


def write_mnist(folder: Path) -> Path:
    for name, array in mnist_arrays().items():
        (folder / name).write_bytes(idx(array))
    return folder


def cifar_arrays(images: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels and labels of the six batches, as many of each class as CIFAR-10 has if each held ``images``."""
    labels = np.split(shuffled((images // 2,) * 10, 2), 5)
    names = [f"data_batch_{k}" for k in range(1, 6)]
    batches = {name: (numbered(images, 3072, k * images), labels[k]) for k, name in enumerate(names)}
    batches["test_batch"] = (numbered(images, 3072, 5 * images), shuffled((images // 10,) * 10, 3))
    return batches


def cifar_binary(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """Of each image its label, then its pixels."""
    return b"".join(bytes([label]) + row.tobytes() for row, label in zip(pixels, labels, strict=True))


def text(value: bytes) -> bytes:
    """A string as Python 2 pickled it."""
    return b"T" + struct.pack("<i", len(value)) + value


def whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def python2_array(pixels: np.ndarray) -> bytes:
    """numpy.core.multiarray._reconstruct(ndarray, (0,), 'b') and its state: version, shape, dtype, order, bytes."""
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + whole(0) + whole(1) + b"tR"
    dtype += b"(" + whole(3) + text(b"|") + b"NNN" + whole(-1) + whole(-1) + whole(0) + b"tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + whole(0) + b"t" + text(b"b") + b"tR"
    shape = b"(" + b"".join(map(whole, pixels.shape)) + b"t"
    return made + b"(" + whole(1) + shape + dtype + b"\x89" + text(pixels.tobytes()) + b"tb"


def python2_list(values: np.ndarray) -> bytes:
    return b"](" + b"".join(map(whole, values.tolist())) + b"e"


def cifar_python(pixels: np.ndarray, labels: np.ndarray, /, **changed: bytes | None) -> bytes:
    """A dictionary by protocol 2; ``changed`` puts other pickled values in place of some, or leaves them out."""
    held: dict[str, bytes | None] = {
        "batch_label": text(b"training batch"),
        "labels": python2_list(labels),
        "data": python2_array(pixels),
        "filenames": b"](" + text(b"a.png") * len(labels) + b"e",
    }
    held.update(changed)
    items = b"".join(text(key.encode()) + value for key, value in held.items() if value is not None)
    return b"\x80\x02}(" + items + b"u."
