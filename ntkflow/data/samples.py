"""What a source of data holds, on the host, before any of it is chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Integer, Num

from ntkflow.errors import DataError


@dataclasses.dataclass(frozen=True)
class Samples:
    """All samples of a source, with raw values.

    Attributes:
        name: what reports and messages call the source.
        inputs: one sample after the other. Images are rows of pixels: channel by channel, and row by row in each.
        labels: the class of each, from 0.
        test_inputs: the source's own test samples; none if it has no split, and tests on what is not trained on.
        test_labels: their classes.
        image_shape: (channels, rows, columns) of one sample; None if samples are no images.
        unit: the raw value that becomes 1.
        scale: in words, what dividing by ``unit`` does.
        checked: in words, what was compared with what is known of the source when it was read.
    """

    name: str
    inputs: Num[np.ndarray, "samples ..."]
    labels: Integer[np.ndarray, " labels"]
    test_inputs: Num[np.ndarray, "test_samples ..."] | None = None
    test_labels: Integer[np.ndarray, " test_labels"] | None = None
    image_shape: tuple[int, int, int] | None = None
    unit: float = 1.0
    scale: str = "values as in the file"
    checked: str = "inputs and labels are as many, finite, and of classes without gaps"

    def require_usable(self) -> None:
        """Raises :class:`DataError` unless every sample has finite values, and labels number at least two classes."""
        if len(self.inputs) != len(self.labels):
            raise DataError(f"{len(self.inputs)} inputs but {len(self.labels)} labels", place=self.name)
        if self.inputs.size == 0:
            raise DataError(f"there is nothing in inputs of shape {self.inputs.shape}", place=self.name)
        # Whole numbers are finite, and looking at all pixels of a large data set takes a while.
        if self.inputs.dtype.kind == "f":
            bad = np.flatnonzero(~np.isfinite(self.inputs.reshape(len(self.inputs), -1)).all(axis=1))
            if bad.size:
                raise DataError(
                    f"{bad.size} of {len(self.inputs)} samples have values that are NaN or infinite, the first is "
                    f"sample {bad[0]}",
                    place=self.name,
                    remedy="Remove these samples, or replace the values, before making the file.",
                )
        if self.labels.min() < 0:
            raise DataError("labels must be whole numbers from 0 to C - 1", place=self.name)
        unused = np.setdiff1d(np.arange(min(int(self.labels.max()) + 1, len(self.labels) + 1)), self.labels)
        if unused.size:
            raise DataError(
                f"labels must be whole numbers from 0 to C - 1, each in use, but {unused[0]} is not; the largest is "
                f"{self.labels.max()}",
                place=self.name,
                remedy="Number the classes from 0 without gaps.",
            )
        if self.labels.max() == 0:
            raise DataError("there is only one class; classification needs at least 2", place=self.name)

    def __str__(self) -> str:
        kind = "samples" if self.image_shape is None else f"images of {size_of_image(self.image_shape)}"
        text = f"{self.name}: {len(self.inputs)} {kind}, {per_class(self.labels)}"
        if self.test_labels is None:
            return text
        return f"{text}; {len(self.test_labels)} for testing, {per_class(self.test_labels)}"


def size_of_image(shape: tuple[int, int, int]) -> str:
    """As a reader would write it: 28×28, or 3×32×32 if there is more than one channel."""
    return "×".join(map(str, shape if shape[0] > 1 else shape[1:]))


def per_class(labels: Integer[np.ndarray, " samples"]) -> str:
    """How many there are of each class, in words."""
    counts = np.bincount(labels)
    fewest, most = (int(bound(counts)) for bound in (np.min, np.max))
    return f"{fewest if fewest == most else f'{fewest} to {most}'} of each of {len(counts)} classes"
