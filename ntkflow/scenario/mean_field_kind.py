"""The `mean_field` kind: random networks of infinite width, from phase to tangent kernel, without any data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import MAX_COUNT, LossScale, Model, PositiveFloat, PositiveInt, Seed

_DEPTH = 10_000


class VarianceAxis(Model):
    """Evenly spaced values of a variance."""

    start: Annotated[float, Field(ge=0)] = Field(description="First value.")
    end: PositiveFloat = Field(description="Last value.")
    points: Annotated[int, Field(ge=2, le=1000)] = Field(default=61, description="How many values.")

    @model_validator(mode="after")
    def _rising(self) -> VarianceAxis:
        if self.end <= self.start:
            raise ValueError(f"end must be above start, but {self.end:g} <= {self.start:g}")
        return self


class PhasePlane(Model):
    """The plane of initialisations whose phases are drawn."""

    sigma_w2: VarianceAxis = Field(description="σ_w², from above 0 on.")
    sigma_b2: VarianceAxis = Field(description="σ_b².")

    @model_validator(mode="after")
    def _weights(self) -> PhasePlane:
        if self.sigma_w2.start == 0:
            raise ValueError("sigma_w2.start must be above 0: without weights there is no network")
        return self


class Initialization(Model):
    """Variances of weights and biases at the start."""

    sigma_w2: PositiveFloat | Literal["edge"] = Field(
        description="σ_w²: weights have the variance σ_w²/fan-in; edge: where χ₁ = 1 with this σ_b²."
    )
    sigma_b2: Annotated[float, Field(ge=0)] = Field(default=0.0, description="σ_b²: the variance of biases.")


class MeanFieldScenario(Model):
    """Fully connected random networks by mean-field theory: phases, profiles over depth, κ₁ and κ₂."""

    kind: Literal["mean_field"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Nothing is random here; kept with the result as in each kind.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z), for step sizes: one, samples (S), samples_times_outputs (S, of one "
        "output), or a number."
    )
    activation: Literal["relu", "erf", "gelu", "tanh"] = Field(description="φ of the hidden layers.")
    depth: Annotated[int, Field(ge=2, le=_DEPTH)] = Field(description="Largest number L of layers of weights.")
    plane: PhasePlane = Field(description="Where phases are looked at.")
    initializations: Annotated[tuple[Initialization, ...], Field(strict=False, min_length=1, max_length=6)] = Field(
        description="Which networks are followed through their layers."
    )
    correlations: Annotated[
        tuple[Annotated[float, Field(ge=-1, le=1)], ...], Field(strict=False, min_length=1, max_length=50)
    ] = Field(
        default=(0.0, 0.25, 0.5, 0.75, 0.9),
        description="Correlations of two inputs with ‖x‖² = input dimension.",
    )
    samples: PositiveInt = Field(default=128, description="S, samples of the kernel whose condition number is told.")
    data_correlation: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.5, description="Correlation of each two of these samples."
    )
    width: Annotated[int, Field(ge=1, le=MAX_COUNT)] = Field(
        default=256, description="M of every hidden layer and of the inputs, for step sizes."
    )
