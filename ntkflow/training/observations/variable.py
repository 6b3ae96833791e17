"""What an array of a record is: its name, its shape, and the whole definition of its numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Variable:
    """One array that is recorded at every moment, known before the first of them.

    Attributes:
        name: unique within its observation.
        dims: names of the axes, without those of moments and members.
        shape: their lengths.
        units: "" for counts and shares, else what one unit is.
        long_name: the full definition: which trace, which samples, with or without the diagonal, which Z.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    units: str
    long_name: str

    def __post_init__(self) -> None:
        if len(self.dims) != len(self.shape):
            raise ValueError(f"{self.name} has {len(self.dims)} names for {len(self.shape)} axes")

    def empty(self, *leading: int) -> Float[np.ndarray, "..."]:
        """NaN for every moment (and member) that is to come: ``leading`` are the lengths of those axes."""
        return np.full((*leading, *self.shape), np.nan)


def scalar(name: str, units: str, long_name: str) -> Variable:
    """A number."""
    return Variable(name, (), (), units, long_name)
