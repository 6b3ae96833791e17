"""The `end_of_training` kind: the hyperbolic flow of W and the within-class scatter, class means fitted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ntkflow.scenario.common import (
    BlockValues,
    Classes,
    LossScale,
    Model,
    PositiveFloat,
    PositiveInt,
    Seed,
    Solver,
    TimeGrid,
)

Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]


class AxesStart(Model):
    """Every feature on its own: W and H₂ are diagonal, and each direction moves on a hyperbola."""

    kind: Literal["axes"] = Field(description="How the initial state is made.")
    weights: Numbers = Field(description="w of each feature; as many as there are features.")
    within: Numbers = Field(description="h of each feature, the square root of its share of S.")


class SpectrumStart(Model):
    """Random W and H₂ for which Ẽ = μ_single WᵀW − mS has given eigenvalues, in a random basis."""

    kind: Literal["spectrum"] = Field(description="How the initial state is made.")
    eigenvalues: Numbers = Field(description="Eigenvalues of Ẽ, of any sign; as many as there are features.")
    excess: PositiveFloat = Field(
        default=1.0,
        description="How far the state is from where it ends: ‖μ_single WᵀW + mS‖ is about the root of "
        "λ² + 4 n excess², λ the eigenvalues.",
    )


class RandomStart(Model):
    """W ~ N(0, weight_scale²/n), and H with an N(0, within_scale²) spread within each class."""

    kind: Literal["random"] = Field(description="How the initial state is made.")
    weight_scale: PositiveFloat = Field(default=1.0, description="Standard deviation of W times √n.")
    within_scale: PositiveFloat = Field(
        default=0.5, description="Standard deviation of a feature within a class, before the class mean is taken off."
    )


class EndOfTrainingCase(Model):
    """One initial state, by name."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$",
        description="What the figures and tables call it.",
        json_schema_extra={
            "patternErrorMessage": "letters, digits, spaces and the signs _ . - only, a letter or a digit first"
        },
    )
    initial: Annotated[AxesStart | SpectrumStart | RandomStart, Field(discriminator="kind")] = Field(
        description="Where the flow starts."
    )


class EndOfTrainingScenario(Model):
    """The end of training, R₁ = 0: W and the within-class scatter S in closed form, beside the integrated flow."""

    kind: Literal["end_of_training"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    problem: Classes = Field(description="Sizes.")
    features: PositiveInt = Field(description="Number of last-layer features n.")
    kernel: BlockValues = Field(description="Values of the last-layer kernel Θʰ; only μ_single = κ_d − κ_c matters.")
    time: TimeGrid = Field(description="How long, and when to save.")
    solver: Solver = Field(default=Solver(), description="How to integrate the flow beside the closed form.")
    cases: Annotated[tuple[EndOfTrainingCase, ...], Field(strict=False, min_length=1)] = Field(
        description="The initial states."
    )

    @field_validator("cases")
    @classmethod
    def _distinct_names(cls, cases: tuple[EndOfTrainingCase, ...]) -> tuple[EndOfTrainingCase, ...]:
        names = [case.name for case in cases]
        if len(set(names)) < len(names):
            raise ValueError(f"every case needs its own name, but the names are {', '.join(names)}")
        return cases

    @model_validator(mode="after")
    def _sizes_fit(self) -> EndOfTrainingScenario:
        # W is C×n and H₂ is n×C(m−1).
        room = min(self.problem.classes, self.problem.classes * (self.problem.samples_per_class - 1))
        for case in self.cases:
            match case.initial:
                case AxesStart(weights=weights, within=within):
                    given = {"weights": len(weights), "within": len(within)}
                case SpectrumStart(eigenvalues=eigenvalues):
                    given = {"eigenvalues": len(eigenvalues)}
                case RandomStart():
                    continue
            for key, count in given.items():
                if count != self.features:
                    raise ValueError(f"case {case.name!r} has {count} {key} for {self.features} features")
            if self.features > room:
                raise ValueError(
                    f"case {case.name!r} needs an output for each feature: at most {room} features, not {self.features}"
                )
        return self
