"""Which real samples a scenario uses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ntkflow.scenario.common import MAX_COUNT, Model


class DigitsData(Model):
    """scikit-learn's 8×8 handwritten digits: 1 797 real images, 174 to 183 of each class."""

    source: Literal["digits"] = Field(description="Where the samples come from.")
    classes: int = Field(default=10, ge=2, le=10, description="The digits 0 … classes−1 are used.")
    samples_per_class: int = Field(ge=2, le=MAX_COUNT, description="Training images of each digit m.")
    labels: Literal["one_hot", "zero_centred"] = Field(
        default="one_hot", description="Targets: 1 and 0, or with 1/C taken off everywhere."
    )


class FileData(Model):
    """The user's own data: a NumPy archive with arrays inputs (samples, …) and labels (samples,) of integers from 0."""

    source: Literal["file"] = Field(description="Where the samples come from.")
    path: str = Field(description="A .npz file, relative to the scenario.")
    samples_per_class: int = Field(ge=2, le=MAX_COUNT, description="Training samples of each class m.")
    labels: Literal["one_hot", "zero_centred"] = Field(
        default="one_hot", description="Targets: 1 and 0, or with 1/C taken off everywhere."
    )


Data = Annotated[DigitsData | FileData, Field(discriminator="source")]
