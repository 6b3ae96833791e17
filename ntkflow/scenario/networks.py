"""Networks that a scenario names: fully connected, of images with batch normalisation, or from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_serializer, model_validator

from ntkflow.scenario.common import MAX_COUNT, Model, PositiveFloat, PositiveInt

Initialization = Literal["he_normal", "lecun_normal", "he_normal_fan_out", "lecun_truncated_normal", "pytorch_uniform"]
_RULES = (
    "Weights N(0, 2/fan-in), N(0, 1/fan-in), N(0, 2/fan-out), N(0, 1/fan-in) cut at two standard deviations (Flax), or "
    "U(±1/√fan-in), biases too (PyTorch); other biases start at 0"
)
_READOUT = "Rule of the linear classifier"

Statistics = Literal["batch", "stored"]
Reference = Literal["samples", "all"]
_STATISTICS = (
    "By which means and variances layers normalise. batch: training by those of the batch, a kernel by those of the "
    "reference samples under the same parameters. stored: {stored}, the same in training and for every kernel."
)
_BEFORE_TRAINING = _STATISTICS.format(stored="those of the reference samples before training")
_REFERENCE = "The reference samples: those the kernel is measured on, or all of the data, those left over included."


_ONE_WIDTH = {"width", "hidden_layers"}
_NAMED_RULES = {"initialization", "readout_initialization"}


class MLP(Model):
    """A fully-connected network: hidden layers, then the layer of features, then the linear classifier."""

    kind: Literal["mlp"] = Field(description="The kind of network.")
    width: PositiveInt = Field(default=96, description="Neurons of each hidden layer.")
    hidden_layers: int = Field(default=2, ge=0, le=MAX_COUNT, description="Hidden layers before the layer of features.")
    widths: Annotated[tuple[PositiveInt, ...], Field(strict=False)] | None = Field(
        default=None, description="Neurons of each hidden layer, one by one, instead of width and hidden_layers."
    )
    features: PositiveInt = Field(default=48, description="Last-layer features n.")
    activation: Literal["relu", "tanh", "erf", "gelu", "linear"] = Field(
        default="relu", description="Activation of every layer but the classifier."
    )
    initialization: Initialization = Field(default="he_normal", description=f"{_RULES}.")
    readout_initialization: Initialization = Field(default="lecun_normal", description=f"{_READOUT}.")
    parametrization: Literal["standard", "ntk"] = Field(
        default="standard",
        description="standard: W and b are trained. ntk: w and β, with W = σ_w/√fan-in · w and b = σ_b β (thesis, "
        "(2.51)).",
    )
    sigma_w: PositiveFloat | None = Field(
        default=None,
        description="σ_w: weights N(0, σ_w²/fan-in) in every layer, the classifier included (thesis, (2.26)), instead "
        "of a named rule.",
    )
    sigma_b: float = Field(default=0.0, ge=0, description="σ_b, with sigma_w: biases N(0, σ_b²).")

    @model_validator(mode="after")
    def _said_once(self) -> MLP:
        given = self.model_fields_set
        if self.widths is not None and given & _ONE_WIDTH:
            raise ValueError("widths says every hidden layer; leave width and hidden_layers away")
        if self.sigma_w is None and "sigma_b" in given:
            raise ValueError("sigma_b belongs to sigma_w; give both, or a named initialization")
        if self.sigma_w is None and self.parametrization == "ntk":
            raise ValueError("parametrization: ntk scales by sigma_w; give it")
        if self.sigma_w is not None and given & _NAMED_RULES:
            raise ValueError("sigma_w is the rule of every layer; leave initialization and readout_initialization away")
        return self

    @model_serializer(mode="wrap")
    def _what_holds(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Without the defaults that something else replaces, so that what is written shows what is run, and loads."""
        replaced = {"widths"} if self.widths is None else _ONE_WIDTH
        replaced = replaced | ({"sigma_w", "sigma_b"} if self.sigma_w is None else _NAMED_RULES)
        return {name: value for name, value in serialize(self).items() if name not in replaced}

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Neurons of each hidden layer, one by one."""
        return (self.width,) * self.hidden_layers if self.widths is None else self.widths

    @property
    def miniature(self) -> MLP:
        """The network of a smoke test: this one, which takes seconds."""
        return self


class ResNet(Model):
    """A residual network for small images: three stages of 3×3 convolutions with batch normalisation, then a mean."""

    kind: Literal["resnet"] = Field(description="The kind of network.")
    depth: int = Field(default=8, ge=8, le=MAX_COUNT, description="Layers with weights: 8, 14, 20, …, 6k + 2.")
    channels: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = Field(
        default=(16, 32, 64), description="Channels of the three stages; the last is the number of features n."
    )
    shortcut: Literal["projection", "padding"] = Field(
        default="projection", description="What a block adds where sizes change: a 1×1 convolution, or zeros."
    )
    initialization: Initialization = Field(default="he_normal", description=f"{_RULES}.")
    readout_initialization: Initialization = Field(default="lecun_normal", description=f"{_READOUT}.")
    statistics: Statistics = Field(default="batch", description=_BEFORE_TRAINING)
    reference: Reference = Field(default="samples", description=_REFERENCE)

    @field_validator("depth")
    @classmethod
    def _whole_blocks(cls, depth: int) -> int:
        if (depth - 2) % 6:
            raise ValueError(f"depth must be 6k + 2 (8, 14, 20, …), but is {depth}")
        return depth

    @field_validator("channels")
    @classmethod
    def _three_stages(cls, channels: tuple[int, ...]) -> tuple[int, ...]:
        if len(channels) != 3:
            raise ValueError(f"three stages need three numbers of channels, not {len(channels)}")
        return channels

    @model_validator(mode="after")
    def _padding_needs_growing_channels(self) -> ResNet:
        if self.shortcut == "padding" and sorted(self.channels) != list(self.channels):
            raise ValueError(
                f"shortcut: padding needs channels that do not shrink, but they are "
                f"{', '.join(map(str, self.channels))}; take projection"
            )
        return self

    @property
    def miniature(self) -> ResNet:
        """The network of a smoke test: of the same kind, with as few layers and channels as take seconds to compile."""
        return self.model_copy(update={"depth": 8, "channels": tuple(min(size, 16) for size in self.channels)})


class VGG(Model):
    """A VGG network: five stages of 3×3 convolutions, each ended by maximum pooling, then two dense layers; batch
    normalisation after every layer but the classifier."""

    kind: Literal["vgg"] = Field(description="The kind of network.")
    depth: int = Field(default=11, ge=11, le=MAX_COUNT, description="Layers with weights: 11, 13, 16 or 19.")
    channels: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = Field(
        default=(64, 128, 256, 512, 512), description="Channels of the five stages."
    )
    head: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = Field(
        default=(512, 256), description="Neurons of the two dense layers; the last is the number of features n."
    )
    initialization: Initialization = Field(default="he_normal", description=f"{_RULES}.")
    readout_initialization: Initialization = Field(default="lecun_normal", description=f"{_READOUT}.")
    statistics: Statistics = Field(default="batch", description=_BEFORE_TRAINING)
    reference: Reference = Field(default="samples", description=_REFERENCE)

    @field_validator("depth")
    @classmethod
    def _a_published_depth(cls, depth: int) -> int:
        if depth not in (11, 13, 16, 19):
            raise ValueError(f"depth must be 11, 13, 16 or 19, but is {depth}")
        return depth

    @field_validator("channels")
    @classmethod
    def _five_stages(cls, channels: tuple[int, ...]) -> tuple[int, ...]:
        if len(channels) != 5:
            raise ValueError(f"five stages need five numbers of channels, not {len(channels)}")
        return channels

    @field_validator("head")
    @classmethod
    def _two_layers(cls, head: tuple[int, ...]) -> tuple[int, ...]:
        if len(head) != 2:
            raise ValueError(f"the head has two dense layers, not {len(head)}")
        return head

    @property
    def miniature(self) -> VGG:
        """The network of a smoke test: of the same kind, with as few layers and channels as take seconds to compile."""
        channels, head = (tuple(min(size, 16) for size in sizes) for sizes in (self.channels, self.head))
        return self.model_copy(update={"depth": 11, "channels": channels, "head": head})


class DenseNet(Model):
    """A densely connected network with bottlenecks: three blocks of 3×3 convolutions whose outputs are put together;
    batch normalisation before every convolution, then a mean."""

    kind: Literal["densenet"] = Field(description="The kind of network.")
    depth: int = Field(default=40, ge=10, le=MAX_COUNT, description="Layers with weights: 10, 16, 22, …, 6k + 4.")
    growth: PositiveInt = Field(default=12, description="Channels that each layer adds.")
    compression: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="Share of the channels that a transition between blocks keeps."
    )
    initialization: Initialization = Field(default="he_normal", description=f"{_RULES}.")
    readout_initialization: Initialization = Field(default="lecun_normal", description=f"{_READOUT}.")
    statistics: Statistics = Field(default="batch", description=_BEFORE_TRAINING)
    reference: Reference = Field(default="samples", description=_REFERENCE)

    @field_validator("depth")
    @classmethod
    def _whole_blocks(cls, depth: int) -> int:
        if (depth - 4) % 6:
            raise ValueError(f"depth must be 6k + 4 (10, 16, 22, …), but is {depth}")
        return depth

    @model_validator(mode="after")
    def _channels_left(self) -> DenseNet:
        layers, size = (self.depth - 4) // 6, 16 if self.compression == 1 else 2 * self.growth
        for _ in range(2):
            size += layers * self.growth
            if int(self.compression * size) < 1:
                raise ValueError(f"compression: {self.compression:g} leaves none of {size} channels; take more")
            size = int(self.compression * size)
        return self

    @property
    def miniature(self) -> DenseNet:
        """The network of a smoke test: of the same kind, with as few layers and channels as take seconds to compile."""
        changes = {"depth": 10, "growth": min(self.growth, 8), "compression": max(self.compression, 0.5)}
        return self.model_copy(update=changes)


class CheckpointNetwork(Model):
    """A network that an earlier run saved."""

    kind: Literal["checkpoint"] = Field(description="The kind of network.")
    path: str = Field(description="A network.ckpt or a snapshot, relative to the scenario.")
    statistics: Statistics = Field(
        default="stored", description=_STATISTICS.format(stored="those in the file") + " For a network without: stored."
    )
    reference: Reference = Field(default="samples", description=_REFERENCE)

    @model_validator(mode="after")
    def _reference_for_batch(self) -> CheckpointNetwork:
        if self.statistics == "stored" and self.reference != "samples":
            raise ValueError("reference: all is for statistics: batch, but they are stored in the checkpoint")
        return self


class StoredMLP(Model):
    """A fully-connected network that an earlier run saved."""

    kind: Literal["checkpoint"] = Field(description="The kind of network.")
    path: str = Field(description="A network.ckpt or a snapshot, relative to the scenario.")


BuiltNetwork = Annotated[MLP | ResNet | VGG | DenseNet, Field(discriminator="kind")]
"""A network with initial weights."""

Network = Annotated[MLP | ResNet | VGG | DenseNet | CheckpointNetwork, Field(discriminator="kind")]
