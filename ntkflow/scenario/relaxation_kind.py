"""The `relaxation` kind: what happens to collapse when an assumption of the block-structured flow is given up."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ntkflow.scenario.common import (
    MAX_COUNT,
    BlockValues,
    FeatureProblem,
    LossScale,
    Model,
    PositiveFloat,
    Seed,
    Solver,
    TimeGrid,
)
from ntkflow.scenario.initial_states import RandomState, ZeroInvariantState

NotNegative = Annotated[float, Field(ge=0)]


class BlockModel(Model):
    """The flow (25) with nothing relaxed, to compare with."""

    kind: Literal["block"] = Field(description="What is relaxed.")


class UnequalClassesModel(Model):
    """Classes of different sizes."""

    kind: Literal["unequal_classes"] = Field(description="What is relaxed.")
    sizes: Annotated[tuple[Annotated[int, Field(ge=2, le=MAX_COUNT)], ...], Field(strict=False, min_length=2)] = Field(
        description="m_c, the samples of each class. Z stays that of the scenario's problem."
    )


class ClassValuesModel(Model):
    """Kernel values of their own for each class."""

    kind: Literal["class_values"] = Field(description="What is relaxed.")
    diagonal: Annotated[tuple[float, ...], Field(strict=False, min_length=2)] = Field(description="κ_d of each class.")
    same_class: Annotated[tuple[float, ...], Field(strict=False, min_length=2)] = Field(
        description="κ_c of each class."
    )
    different_class: NotNegative = Field(description="κ_n, the same for every pair of classes.")

    @model_validator(mode="after")
    def _ordered(self) -> ClassValuesModel:
        if len(self.diagonal) != len(self.same_class):
            raise ValueError(
                f"diagonal has {len(self.diagonal)} values, but same_class has {len(self.same_class)}; both need one "
                "for each class"
            )
        for index, (own, same) in enumerate(zip(self.diagonal, self.same_class, strict=True)):
            if not own > same > self.different_class:
                raise ValueError(
                    "the order diagonal > same_class > different_class is violated in class "
                    f"{index}: {own:g}, {same:g}, {self.different_class:g}"
                )
        return self


class MatrixBlocksModel(Model):
    """Matrices over pairs of features in the place of the three values (paper 3, appendix D)."""

    kind: Literal["matrix_blocks"] = Field(description="What is relaxed.")
    spread: Annotated[float, Field(ge=1)] = Field(
        description="Largest over smallest eigenvalue of the random matrices, whose mean eigenvalue is 1; 1 relaxes "
        "nothing."
    )
    shared: bool = Field(
        default=False,
        description="Whether A_d, A_c and A_n are multiples of one random matrix, or of three independent ones.",
    )


class CrossEntropyModel(Model):
    """Softmax cross-entropy in the place of the squared error."""

    kind: Literal["cross_entropy"] = Field(description="What is relaxed.")


class WeightDecayModel(Model):
    """Decay of readout, bias and features."""

    kind: Literal["weight_decay"] = Field(description="What is relaxed.")
    weight: NotNegative = Field(description="λ_W: Ẇ gets the term −λ_W W.")
    bias: NotNegative = Field(default=0.0, description="λ_b: ḃ gets the term −λ_b b.")
    features: NotNegative = Field(default=0.0, description="λ_H: Ḣ gets the term −λ_H H.")


class ValuesAtTime(BlockValues):
    """The three values of the kernel at one time."""

    time: NotNegative = Field(description="When, in gradient-flow time.")


class VaryingValuesModel(Model):
    """Kernel values that change in time; before the first snapshot and after the last they are held."""

    kind: Literal["varying_values"] = Field(description="What is relaxed.")
    snapshots: Annotated[tuple[ValuesAtTime, ...], Field(strict=False, min_length=1)] = Field(
        description="The values, at increasing times."
    )
    interpolation: Literal["linear", "constant"] = Field(
        default="linear", description="Linear between two snapshots, or constant until the next."
    )

    @model_validator(mode="after")
    def _increasing(self) -> VaryingValuesModel:
        times = [snapshot.time for snapshot in self.snapshots]
        if any(later <= earlier for earlier, later in itertools.pairwise(times)):
            raise ValueError(
                f"the times of the snapshots must increase, but they are {', '.join(map('{:g}'.format, times))}"
            )
        return self


class ValueNoise(Model):
    """The noise of the three values, each independent, in units of a value times √(gradient-flow time)."""

    diagonal: NotNegative = Field(default=0.0, description="σ_d.")
    same_class: NotNegative = Field(default=0.0, description="σ_c.")
    different_class: NotNegative = Field(default=0.0, description="σ_n.")


class NoisyModel(Model):
    """Kernel values that fluctuate: a stochastic differential equation in the sense of Stratonovich."""

    kind: Literal["noisy"] = Field(description="What is relaxed.")
    noise: ValueNoise = Field(description="How strong.")
    step: PositiveFloat = Field(description="Longest step of Heun's method, in gradient-flow time.")
    paths: int = Field(default=64, ge=2, le=MAX_COUNT, description="How many independent paths are averaged.")
    correlation_time: PositiveFloat | None = Field(
        default=None, description="Memory τ of the fluctuations, in gradient-flow time; none for white noise."
    )


RelaxedModel = Annotated[
    BlockModel
    | UnequalClassesModel
    | ClassValuesModel
    | MatrixBlocksModel
    | CrossEntropyModel
    | WeightDecayModel
    | VaryingValuesModel
    | NoisyModel,
    Field(discriminator="kind"),
]


class RelaxationCase(Model):
    """One relaxed system, by name."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$",
        description="What the figures and tables call it.",
        json_schema_extra={
            "patternErrorMessage": "letters, digits, spaces and the signs _ . - only, a letter or a digit first"
        },
    )
    model: RelaxedModel = Field(description="Which assumption is given up, and how.")


class RelaxationScenario(Model):
    """What becomes of residual, collapse and invariant when an assumption of the flow (25) is given up."""

    kind: Literal["relaxation"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    problem: FeatureProblem = Field(description="Sizes.")
    kernel: BlockValues = Field(description="Values of the last-layer kernel Θʰ where the model has none of its own.")
    initial: Annotated[RandomState | ZeroInvariantState, Field(discriminator="kind")] = Field(
        description="Where all cases start."
    )
    time: TimeGrid = Field(description="How long, and when to save.")
    solver: Solver = Field(default=Solver(), description="How to integrate; noisy models have a method of their own.")
    cases: Annotated[tuple[RelaxationCase, ...], Field(strict=False, min_length=1)] = Field(
        description="The relaxed systems."
    )

    @field_validator("cases")
    @classmethod
    def _distinct_names(cls, cases: tuple[RelaxationCase, ...]) -> tuple[RelaxationCase, ...]:
        names = [case.name for case in cases]
        if len(set(names)) < len(names):
            raise ValueError(f"every case needs its own name, but the names are {', '.join(names)}")
        return cases

    @model_validator(mode="after")
    def _one_entry_for_each_class(self) -> RelaxationScenario:
        for case in self.cases:
            match case.model:
                case UnequalClassesModel(sizes=entries):
                    what = "sizes"
                case ClassValuesModel(diagonal=entries):
                    what = "values"
                case _:
                    continue
            if len(entries) != self.problem.classes:
                raise ValueError(
                    f"case {case.name!r} gives {what} for {len(entries)} classes, but problem.classes is "
                    f"{self.problem.classes}"
                )
        return self
