"""From raw values to inputs: divided by a stated number, and standardised by the training samples where asked for."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float, Num

from ntkflow.errors import DataError

Precision = Literal["float32", "float64"]


def scaled(
    raw: Num[np.ndarray, "samples ..."], unit: float, dtype: Precision, name: str
) -> Float[np.ndarray, "samples ..."]:
    """Raw values over ``unit``, the raw value that becomes 1, correctly rounded to ``dtype``.

    Raises:
        DataError: values beyond what ``dtype`` can hold.
    """
    with np.errstate(over="ignore"):
        values = raw.astype(dtype)
    if unit != 1:
        values /= unit
    if not np.isfinite(values).all():
        raise DataError(
            f"there are values that {dtype} cannot hold", place=name, remedy="Scale the inputs before making the file."
        )
    return values


@dataclasses.dataclass(frozen=True)
class Standardization:
    """What is taken off the values of each channel, and what they are divided by then.

    Attributes:
        mean: of each channel over the samples and pixels it was made of.
        deviation: standard deviation of the same values, the square root of their mean squared distance to ``mean``.
    """

    mean: Float[np.ndarray, " channels"]
    deviation: Float[np.ndarray, " channels"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "samples ..."], channels: int, name: str) -> Standardization:
        """The constants that bring each channel of these samples to mean 0 and standard deviation 1.

        Args:
            values: of the training samples; those of a channel lie together, one channel after the other.
            channels: how many there are; 1 where inputs are no images.
            name: of the data, for the message.

        Raises:
            DataError: a channel whose values are all the same.
        """
        by_channel = values.reshape(len(values), channels, -1)
        mean = by_channel.mean(axis=(0, 2), dtype=np.float64)
        centred = by_channel - mean.astype(values.dtype)[:, None]
        deviation = np.sqrt(np.mean(centred * centred, axis=(0, 2), dtype=np.float64))
        flat = [k for k in range(channels) if by_channel[:, k].min() == by_channel[:, k].max()]
        if flat:
            raise DataError(
                f"all values of channel {flat[0]} of the training samples are the same, and have no deviation to "
                "divide by",
                place=f"{name}, data.normalization",
                remedy="Leave normalization away.",
            )
        return cls(mean, deviation)

    def apply(self, values: Float[np.ndarray, "samples ..."]) -> Float[np.ndarray, "samples ..."]:
        """(values − mean)/deviation by channel, in the shape and the precision of ``values``."""
        mean, deviation = (constant.astype(values.dtype)[:, None] for constant in (self.mean, self.deviation))
        by_channel = values.reshape(len(values), len(self.mean), values[0].size // len(self.mean) if len(values) else 0)
        return ((by_channel - mean) / deviation).reshape(values.shape)

    def __str__(self) -> str:
        mean, deviation = (", ".join(f"{value:.6g}" for value in constant) for constant in (self.mean, self.deviation))
        channels = " by channel" if len(self.mean) > 1 else ""
        return f"minus the mean {mean}, over the standard deviation {deviation} of the training samples{channels}"
