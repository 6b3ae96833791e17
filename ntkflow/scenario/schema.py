"""What a scenario may say: the pydantic models behind every YAML file.

Unknown keys are errors, numbers must be finite, and text is never read as a number. The field descriptions are what
``ntkflow schema`` exports for editors and what the reference page shows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

# Without an upper bound a mistyped 10**400 passes the checks and breaks the first place that needs a float or an int64.
MAX_COUNT = 1_000_000_000

_AGAIN = "as many again, dense at first, after each snapshot"

PositiveFloat = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
LossScale = Literal["one", "samples", "samples_times_outputs"] | PositiveFloat


class Model(BaseModel):
    """The common rules: no unknown keys, no coercion between types, finite numbers, immutable once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class BlockValues(Model):
    """The three values of a block-structured kernel (paper 3, Definition 3.1)."""

    diagonal: float = Field(description="Value on a sample and itself (κ_d or γ_d).")
    same_class: float = Field(description="Value on two distinct samples of one class (κ_c or γ_c).")
    different_class: float = Field(description="Value on samples of two classes (κ_n or γ_n).")

    @model_validator(mode="after")
    def _ordered(self) -> BlockValues:
        if not self.diagonal > self.same_class > self.different_class >= 0:
            raise ValueError(
                "the order diagonal > same_class > different_class >= 0 (paper 3, Definition 3.1) is violated by "
                f"{self.diagonal:g}, {self.same_class:g}, {self.different_class:g}"
            )
        return self


class Classes(Model):
    """A balanced classification problem: every class has the same number of samples."""

    classes: int = Field(ge=2, le=MAX_COUNT, description="Number of classes C.")
    samples_per_class: int = Field(ge=2, le=MAX_COUNT, description="Samples of each class m; N = m C.")


class FeatureProblem(Classes):
    """A balanced problem whose samples have last-layer features."""

    features: PositiveInt = Field(description="Number of last-layer features n; paper 3 assumes n > C.")

    @model_validator(mode="after")
    def _wide(self) -> FeatureProblem:
        if self.features <= self.classes:
            raise ValueError(
                f"features must exceed classes (paper 3 assumes n > C), but {self.features} <= {self.classes}"
            )
        return self


class TimeGrid(Model):
    """The times at which a flow is saved, in units of gradient-flow time with the scenario's loss scale."""

    end: PositiveFloat = Field(description="Last time.")
    points: int = Field(
        default=200, ge=2, le=MAX_COUNT, description="How many times are saved, the first and the last included."
    )
    spacing: Literal["linear", "log"] = Field(default="log", description="How the saved times are spaced.")
    first: PositiveFloat | None = Field(
        default=None, description="With log spacing, the first time after 0; the end divided by 10 000 unless told."
    )

    @model_validator(mode="after")
    def _first_before_end(self) -> TimeGrid:
        if self.first is not None and self.first >= self.end:
            raise ValueError(f"first must be below end, but {self.first:g} >= {self.end:g}")
        return self


class Solver(Model):
    """How a differential equation is integrated."""

    method: Literal["tsit5", "dopri8", "rkc2", "kvaerno5"] = Field(
        default="tsit5",
        description="Explicit of order 5; explicit of order 8; stabilised explicit of order 2, for stiff flows at "
        "moderate tolerances; implicit of order 5, for stiff flows of few numbers.",
    )
    rtol: Annotated[float, Field(gt=0, lt=1)] = Field(default=1e-10, description="Relative tolerance of a step.")
    atol: PositiveFloat = Field(default=1e-12, description="Absolute tolerance of a step.")
    max_steps: PositiveInt = Field(default=1_000_000, description="The solver gives up after so many steps.")


class TrainingSolver(Solver):
    """How the parameters are integrated: looser than a flow without a network, which is far cheaper a step.

    A class of its own, so that a scenario which names only the method keeps these tolerances.
    """

    rtol: Annotated[float, Field(gt=0, lt=1)] = Field(default=1e-7, description="Relative tolerance of a step.")
    atol: PositiveFloat = Field(default=1e-9, description="Absolute tolerance of a step.")


class ForecastSolver(Solver):
    """How the forecasts are integrated: looser than training, which they only approximate, and stabilised: they are
    stiff."""

    method: Literal["tsit5", "dopri8", "rkc2", "kvaerno5"] = Field(
        default="rkc2", description="As for every solver; the forecasts' own default is the stabilised one."
    )
    rtol: Annotated[float, Field(gt=0, lt=1)] = Field(default=1e-6, description="Relative tolerance of a step.")
    atol: PositiveFloat = Field(default=1e-8, description="Absolute tolerance of a step.")


class RandomState(Model):
    """W ~ N(0, weight_scale²/n), H ~ feature_scale · N(0, 1), rectified if asked, b = 0."""

    kind: Literal["random"] = Field(description="How the initial state is made.")
    weight_scale: PositiveFloat = Field(default=1.0, description="Standard deviation of W times √n.")
    feature_scale: PositiveFloat = Field(default=0.5, description="Standard deviation of H before rectification.")
    rectified: bool = Field(default=True, description="Whether negative features are set to zero, as ReLU does.")


class ZeroInvariantState(Model):
    """A random state with invariant E = 0 and global feature mean 0, the assumptions of paper 3, Theorem 5.2."""

    kind: Literal["zero_invariant"] = Field(description="How the initial state is made.")
    feature_scale: PositiveFloat = Field(default=0.5, description="Standard deviation of the class means' coordinates.")
    within_scale: Annotated[float, Field(ge=0)] = Field(
        default=0.5, description="Standard deviation of the within-class coordinates."
    )


class FileState(Model):
    """A NumPy archive with the arrays features (n, N), weight (C, n), bias (C,); samples are sorted by class."""

    kind: Literal["file"] = Field(description="How the initial state is made.")
    path: str = Field(description="A .npz file, relative to the scenario.")


InitialState = Annotated[RandomState | ZeroInvariantState | FileState, Field(discriminator="kind")]


class FlowCase(Model):
    """One initial state, by name."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$",
        description="What the figures and tables call it.",
        json_schema_extra={
            "patternErrorMessage": "letters, digits, spaces and the signs _ . - only, a letter or a digit first"
        },
    )
    initial: InitialState = Field(description="Where the flow starts.")


class FlowScenario(Model):
    """A block-structured gradient flow from given or random initial states, without a network."""

    kind: Literal["flow"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    problem: FeatureProblem = Field(description="Sizes.")
    kernel: BlockValues = Field(description="Values of the last-layer kernel Θʰ.")
    representation: Literal["sample", "class"] = Field(
        default="class", description="Integrate (19), all samples, or (25), class means and what is left of them."
    )
    time: TimeGrid = Field(description="How long, and when to save.")
    solver: Solver = Field(default=Solver(), description="How to integrate.")
    cases: Annotated[tuple[FlowCase, ...], Field(strict=False, min_length=1)] = Field(description="The initial states.")

    @field_validator("cases")
    @classmethod
    def _distinct_names(cls, cases: tuple[FlowCase, ...]) -> tuple[FlowCase, ...]:
        names = [case.name for case in cases]
        if len(set(names)) < len(names):
            raise ValueError(f"every case needs its own name, but the names are {', '.join(names)}")
        return cases


class ResidualNorms(Model):
    """Frobenius norms of the three parts of the initial residual."""

    global_mean: PositiveFloat = Field(default=1.0, description="Norm of the part that is the same for all samples.")
    class_means: PositiveFloat = Field(
        default=1.0, description="Norm of the class means with the global mean taken off."
    )
    within_class: PositiveFloat = Field(default=1.0, description="Norm of what is left in each sample.")


class ResidualsScenario(Model):
    """The residual under a constant block kernel Θ: gradient-descent steps and gradient flow in closed form."""

    kind: Literal["residuals"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    problem: Classes = Field(description="Sizes.")
    kernel: BlockValues = Field(description="Values of the kernel Θ of each output.")
    initial: ResidualNorms = Field(default=ResidualNorms(), description="Size of the initial residual's three parts.")
    step_sizes: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=1)] = Field(
        description="Gradient-descent steps η; each is run."
    )
    steps: PositiveInt = Field(description="Gradient-descent steps to take.")


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


class MLP(Model):
    """A fully-connected network: hidden layers of one width, then the layer of features, then the linear classifier."""

    kind: Literal["mlp"] = Field(description="The kind of network.")
    width: PositiveInt = Field(default=96, description="Neurons of each hidden layer.")
    hidden_layers: int = Field(default=2, ge=0, le=MAX_COUNT, description="Hidden layers before the layer of features.")
    features: PositiveInt = Field(default=48, description="Last-layer features n.")
    activation: Literal["relu", "tanh", "erf", "gelu", "linear"] = Field(
        default="relu", description="Activation of every layer but the classifier."
    )
    initialization: Literal["he_normal", "lecun_normal"] = Field(
        default="he_normal", description="Weights N(0, 2/fan-in) or N(0, 1/fan-in); biases 0."
    )


class GradientDescent(Model):
    """Full-batch gradient descent; gradient-flow time is step_size times the number of steps."""

    method: Literal["gradient_descent"] = Field(description="How the network is trained.")
    step_size: PositiveFloat = Field(description="η, of the loss ‖R‖²/(2Z).")
    steps: PositiveInt = Field(description="Steps to take.")
    snapshots: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_COUNT)], ...], Field(strict=False, min_length=1)] = (
        Field(description="Steps at which kernels are measured and forecasts start.")
    )
    records: int = Field(
        default=200,
        ge=2,
        le=MAX_COUNT,
        description=f"About how many steps have their full residual stored, evenly spaced; {_AGAIN}.",
    )

    @model_validator(mode="after")
    def _snapshots_within(self) -> GradientDescent:
        _increasing_below(self.snapshots, self.steps, "steps")
        return self


class GradientFlow(Model):
    """Exact gradient flow of the parameters, integrated by Diffrax."""

    method: Literal["gradient_flow"] = Field(description="How the network is trained.")
    end_time: PositiveFloat = Field(description="Gradient-flow time to train for, of the loss ‖R‖²/(2Z).")
    snapshots: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False, min_length=1)] = Field(
        description="Times at which kernels are measured and forecasts start."
    )
    records: int = Field(
        default=400,
        ge=2,
        le=MAX_COUNT,
        description=f"About how many times have their full residual stored, evenly spaced; {_AGAIN}.",
    )
    solver: TrainingSolver = Field(default=TrainingSolver(), description="How to integrate the parameters.")

    @model_validator(mode="after")
    def _snapshots_within(self) -> GradientFlow:
        _increasing_below(self.snapshots, self.end_time, "end_time")
        return self


def _increasing_below(snapshots: tuple[float, ...], end: float, name: str) -> None:
    if any(later <= earlier for earlier, later in pairwise(snapshots)):
        raise ValueError(f"snapshots must increase, but are {', '.join(f'{item:g}' for item in snapshots)}")
    if snapshots[-1] >= end:
        raise ValueError(
            f"the last snapshot, {snapshots[-1]:g}, must come before the end of training ({name}: {end:g})"
        )


Training = Annotated[GradientDescent | GradientFlow, Field(discriminator="method")]


class Forecast(Model):
    """What is forecast from every snapshot, and how far."""

    models: Annotated[tuple[Literal["three_values", "full_frozen"], ...], Field(strict=False, min_length=1)] = Field(
        default=("full_frozen", "three_values"),
        description="Rungs of the assumption ladder: the whole measured Θʰ, or its three block values.",
    )
    horizon: PositiveFloat | None = Field(
        default=None,
        description="How far each forecast reaches, in gradient-flow time; the end of training unless told.",
    )
    solver: ForecastSolver = Field(default=ForecastSolver(), description="How to integrate the forecasts.")


class ComparisonScenario(Model):
    """Train a network on real data, measure its kernels, forecast, and compare: the main job."""

    kind: Literal["comparison"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random: which samples, which initial weights.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    data: Data = Field(description="Which samples.")
    network: MLP = Field(description="Which network.")
    training: Training = Field(description="How it is trained.")
    forecast: Forecast = Field(default=Forecast(), description="What is forecast.")


Scenario = FlowScenario | ResidualsScenario | ComparisonScenario

SCENARIO: TypeAdapter[Scenario] = TypeAdapter(Annotated[Scenario, Field(discriminator="kind")])
"""Validates a mapping into one of the scenario kinds."""
