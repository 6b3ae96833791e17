"""The `training` kind: a real network trained as in the papers, measured at chosen epochs, resumable."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import MAX_COUNT, LossScale, Model, PositiveFloat, PositiveInt, Seed
from ntkflow.scenario.data_sources import Data
from ntkflow.scenario.networks import BuiltNetwork

Share = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
Epoch = Annotated[int, Field(ge=0, le=MAX_COUNT)]

MAX_MEMBERS = 1_000
"""Members of an ensemble, each of which is measured by itself."""

GROUPS = ("losses", "collapse", "residuals", "block_values", "alignments", "invariant", "sharpness")
Group = Literal["losses", "collapse", "residuals", "block_values", "alignments", "invariant", "sharpness"]

_DECAY = (
    "coupled: weight_decay·θ is added to the gradient, before momentum (PyTorch's weight_decay). decoupled: to the "
    "direction after it (AdamW)."
)
_DECAYED = "Which parameters decay: all of them, or weights only, without biases, gains and shifts."


class SGD(Model):
    """Gradient descent on mini-batches, or on all samples, with momentum."""

    kind: Literal["sgd"] = Field(description="The optimiser.")
    momentum: Share = Field(default=0.0, description="β in v ← βv + gradient.")
    nesterov: bool = Field(default=False, description="Whether the momentum looks ahead: u = gradient + βv.")
    weight_decay: NonNegative = Field(default=0.0, description="λ.")
    decay: Literal["coupled", "decoupled"] = Field(default="coupled", description=_DECAY)
    decayed: Literal["all", "weights"] = Field(default="all", description=_DECAYED)

    @model_validator(mode="after")
    def _ahead_of_something(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: true needs momentum, 0.9 for example")
        return self


class Adam(Model):
    """Adam, or AdamW with decay: decoupled. No gradient flow: such a run has no gradient-flow time."""

    kind: Literal["adam"] = Field(description="The optimiser.")
    b1: Share = Field(default=0.9, description="β₁, of the mean of gradients.")
    b2: Share = Field(default=0.999, description="β₂, of the mean of their squares.")
    eps: PositiveFloat = Field(default=1e-8, description="ε, outside the root.")
    weight_decay: NonNegative = Field(default=0.0, description="λ.")
    decay: Literal["coupled", "decoupled"] = Field(default="coupled", description=_DECAY)
    decayed: Literal["all", "weights"] = Field(default="all", description=_DECAYED)


Optimizer = Annotated[SGD | Adam, Field(discriminator="kind")]


class ConstantSchedule(Model):
    """The step size as it is."""

    kind: Literal["constant"] = Field(description="How the step size changes.")


class StepSchedule(Model):
    """The step size divided by a factor every so many epochs."""

    kind: Literal["steps"] = Field(description="How the step size changes.")
    every: PositiveInt = Field(default=120, description="Epochs between two drops.")
    factor: PositiveFloat = Field(default=10.0, description="What the step size is divided by.")


Schedule = Annotated[ConstantSchedule | StepSchedule, Field(discriminator="kind")]


class StalledLoss(Model):
    """Stop when the loss has not decreased for long (paper 1, captions of Figures 3 and 4)."""

    kind: Literal["stalled_loss"] = Field(description="When training stops before its last epoch.")
    least_decrease: NonNegative = Field(default=1e-7, description="What counts as a decrease.")
    patience: PositiveInt = Field(default=100, description="Consecutive steps without one.")


class LossBelow(Model):
    """Stop at the first step whose loss is below a threshold."""

    kind: Literal["loss_below"] = Field(description="When training stops before its last epoch.")
    threshold: PositiveFloat = Field(description="Of the loss.")


Stopping = Annotated[StalledLoss | LossBelow, Field(discriminator="kind")]


class StochasticTraining(Model):
    """How the network is trained."""

    loss: Literal["squared_error", "cross_entropy"] = Field(
        default="squared_error", description="‖R‖²/(2Z), or the sum over samples of −log softmax, divided by Z."
    )
    optimizer: Optimizer = Field(default=SGD(kind="sgd"), description="How a step is made of a gradient.")
    step_size: PositiveFloat = Field(description="η at the beginning.")
    schedule: Schedule = Field(default=ConstantSchedule(kind="constant"), description="How η changes.")
    epochs: PositiveInt = Field(description="Passes over the training samples.")
    batch_per_class: PositiveInt | None = Field(
        default=None,
        description="Samples of each class in a batch, exactly; what is left over in an epoch is dropped from it. All "
        "samples in one batch unless told.",
    )
    precision: Literal["float32", "float64"] = Field(
        default="float32", description="Of parameters, inputs and all that training computes."
    )
    stopping: Stopping | None = Field(default=None, description="A rule that ends training earlier.")

    @model_validator(mode="after")
    def _stops_on_all_samples(self) -> StochasticTraining:
        if self.stopping is not None and self.batch_per_class is not None:
            raise ValueError(
                f"stopping: {self.stopping.kind} looks at the loss of all samples at every step, and those of "
                "mini-batches are noisy; leave batch_per_class away"
            )
        return self


class Records(Model):
    """What is measured, at which epochs, and on which samples."""

    count: Annotated[int, Field(ge=2, le=100_000)] = Field(
        default=20, description="How many epochs are measured, 0 and the last included."
    )
    spacing: Literal["log", "linear"] = Field(default="log", description="How they are spaced.")
    epochs: Annotated[tuple[Epoch, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="The epochs themselves, in place of count and spacing; 0 and the last are added."
    )
    groups: Annotated[tuple[Group, ...], Field(strict=False, min_length=1)] = Field(
        default=("losses", "collapse", "residuals", "block_values", "alignments", "invariant"),
        description="What is measured: losses and accuracies; neural-collapse metrics and norms; residual by "
        "eigenspace; block values of Θ and Θʰ; alignments and change of the kernels; the invariant; sharpness and step "
        "limits.",
    )
    statistics: Literal["reference", "running"] = Field(
        default="reference",
        description="By which means and variances a normalised network is measured as a function of one sample: those "
        "of the kernels' samples under the same parameters, or the running averages of training (at epoch 0, before "
        "there are any, those of the kernels' samples).",
    )
    samples_per_class: Annotated[int, Field(ge=2, le=MAX_COUNT)] | None = Field(
        default=None, description="Training samples of each class that are measured; all unless told."
    )
    kernel_samples_per_class: Annotated[int, Field(ge=2, le=MAX_COUNT)] = Field(
        default=12, description="Those of each class on which kernels are measured; paper 3 has 12, and 4 for VGG."
    )
    random_features: Annotated[int, Field(ge=3, le=MAX_COUNT)] | None = Field(
        default=None,
        description="So many random ±1 combinations stand for the n features in Θʰ, the same at all epochs; all "
        "features, exactly, unless told.",
    )
    sharpness_samples_per_class: PositiveInt | None = Field(
        default=None, description="Samples of each class for the sharpness; all that are measured unless told."
    )

    @model_validator(mode="after")
    def _once(self) -> Records:
        if len(set(self.groups)) < len(self.groups):
            raise ValueError(f"each group once, but they are {', '.join(self.groups)}")
        if self.epochs is not None and any(later <= earlier for earlier, later in pairwise(self.epochs)):
            raise ValueError(f"epochs must increase, but are {', '.join(map(str, self.epochs))}")
        return self


class Checkpoints(Model):
    """What a run can be resumed from, and which networks are kept for good."""

    every: PositiveInt | None = Field(
        default=None,
        description="Epochs between two checkpoints; those that are measured are checkpoints too. A fiftieth of all "
        "unless told.",
    )
    keep: PositiveInt = Field(default=2, description="How many checkpoints are kept while the run lasts.")
    snapshots: Annotated[tuple[Epoch, ...], Field(strict=False)] = Field(
        default=(), description="Epochs whose network stays in the result, for kernel scenarios; the last one does."
    )

    @model_validator(mode="after")
    def _increasing(self) -> Checkpoints:
        if any(later <= earlier for earlier, later in pairwise(self.snapshots)):
            raise ValueError(f"snapshots must increase, but are {', '.join(map(str, self.snapshots))}")
        return self


class TrainingEnsemble(Model):
    """Several runs in one program: every combination of seeds, step sizes and scales of the initial weights."""

    seeds: PositiveInt = Field(default=1, description="How many initial networks and orders of samples.")
    step_sizes: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="Initial step sizes, in place of training.step_size."
    )
    initial_scales: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=1)] = Field(
        default=(1.0,), description="What the initial weights are multiplied by; gains, shifts and biases are not."
    )

    @property
    def members(self) -> int:
        """How many runs."""
        return self.seeds * len(self.step_sizes or (1,)) * len(self.initial_scales)

    @model_validator(mode="after")
    def _different_and_not_too_many(self) -> TrainingEnsemble:
        for name, values in (("step_sizes", self.step_sizes or ()), ("initial_scales", self.initial_scales)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: a value is listed twice in {', '.join(f'{value:g}' for value in values)}")
        if self.members > MAX_MEMBERS:
            raise ValueError(f"{self.members} members, but each is measured by itself: at most {MAX_MEMBERS}")
        return self


class TrainingScenario(Model):
    """Train a real network, measure it at chosen epochs, and keep it: what the theory is compared with."""

    kind: Literal["training"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random: which samples, weights, order of samples.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number; N are all "
        "training samples, and a batch's loss has its share of Z."
    )
    data: Data = Field(description="Which samples.")
    network: BuiltNetwork = Field(description="Which network.")
    training: StochasticTraining = Field(description="How it is trained.")
    records: Records = Field(default=Records(), description="What is measured.")
    checkpoints: Checkpoints = Field(default=Checkpoints(), description="What is kept.")
    ensemble: TrainingEnsemble = Field(default=TrainingEnsemble(), description="How many runs, and how they differ.")
    devices: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="How many devices share the members of an ensemble, or the samples of each batch of a single run. "
        "Sums are then in another order: results agree to rounding. A CPU is as many as JAX_NUM_CPU_DEVICES says.",
    )
    smoke: bool = Field(
        default=False,
        description="A short run, mostly compilation, that shows only that it runs: two epochs, few samples, a network "
        "of the same kind with few layers and channels, and, where the data are files of the user's, made-up images of "
        "their shape. What the whole run takes, `ntkflow estimate` says.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TrainingScenario:
        m, training, records = self.data.samples_per_class, self.training, self.records
        if training.batch_per_class is not None and training.batch_per_class > m:
            raise ValueError(
                f"training.batch_per_class: a batch of {training.batch_per_class} samples of each class, but "
                f"data.samples_per_class is {m}"
            )
        if training.loss == "cross_entropy" and self.loss_scale != "samples":
            raise ValueError(
                "training.loss: cross_entropy is a mean over samples: its Z is their number; write loss_scale: samples"
            )
        if training.stopping is not None and self.ensemble.members > 1:
            raise ValueError("training.stopping is for a single run: the members of an ensemble take the same steps")
        measured = m if records.samples_per_class is None else records.samples_per_class
        if measured > m:
            raise ValueError(f"records.samples_per_class is {measured}, but data.samples_per_class is {m}")
        if records.kernel_samples_per_class > m:
            raise ValueError(
                f"records.kernel_samples_per_class is {records.kernel_samples_per_class}, but data.samples_per_class "
                f"is {m}; give at most that"
            )
        if (records.sharpness_samples_per_class or 0) > measured:
            raise ValueError(
                f"records.sharpness_samples_per_class is {records.sharpness_samples_per_class}, but only {measured} of "
                "each class are measured"
            )
        for name, epochs in (
            ("records.epochs", self.records.epochs or ()),
            ("checkpoints.snapshots", self.checkpoints.snapshots),
        ):
            if epochs and epochs[-1] > training.epochs:
                raise ValueError(f"{name}: epoch {epochs[-1]} is after the last, training.epochs: {training.epochs}")
        return self

    @property
    def as_run(self) -> TrainingScenario:
        """What is run: itself, or its smoke test, the same in miniature."""
        if not self.smoke:
            return self
        m, batch = self.data.samples_per_class, self.training.batch_per_class
        batch = None if batch is None else min(batch, 2)
        m = min(m, 4 if batch is None else 2 * batch)
        training = self.training.model_copy(update={"epochs": min(self.training.epochs, 2), "batch_per_class": batch})
        kernel = min(self.records.kernel_samples_per_class, 2)
        records = Records(
            count=2,
            groups=self.records.groups,
            statistics=self.records.statistics,
            kernel_samples_per_class=kernel,
            random_features=3,
            sharpness_samples_per_class=min(m, 2),
        )
        ensemble = self.ensemble.model_copy(
            update={
                "seeds": min(self.ensemble.seeds, 2),
                "step_sizes": None if self.ensemble.step_sizes is None else self.ensemble.step_sizes[-2:],
                "initial_scales": self.ensemble.initial_scales[:2],
            }
        )
        data = self.data.model_copy(update={"samples_per_class": m, "test_samples_per_class": 2})
        return self.model_copy(
            update={
                "network": self.network.miniature,
                "training": training,
                "records": records,
                "checkpoints": Checkpoints(),
                "ensemble": ensemble,
                "data": data,
                "devices": 1,
            }
        )
