"""The `flow` kind: a block-structured gradient flow without a network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ntkflow.scenario.common import BlockValues, FeatureProblem, LossScale, Model, PositiveFloat, Seed, Solver, TimeGrid


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
