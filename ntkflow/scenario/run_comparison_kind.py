"""The `run_comparison` kind: forecasts from the snapshots of a training run that is already there."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import MAX_COUNT, Model, Seed
from ntkflow.scenario.comparison_kind import Forecast


class RunComparisonScenario(Model):
    """Forecast from snapshots of a result of kind training, and compare with what the run then did."""

    kind: Literal["run_comparison"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Nothing is random here; kept with the result.")
    result: str = Field(
        description="The folder of a complete result of kind training, relative to this scenario: its data, network, "
        "Z, optimiser, and the networks of its snapshots and of its end. A relative path of its data starts at this "
        "scenario too."
    )
    member: int = Field(default=0, ge=0, le=MAX_COUNT, description="Which run of an ensemble, from 0.")
    snapshots: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_COUNT)], ...], Field(strict=False, min_length=1)] = (
        Field(
            description="Epochs at which kernels are measured and forecasts start; the run must have kept their "
            "networks (checkpoints: snapshots). What forecasts are compared with is the networks of all snapshots."
        )
    )
    forecast: Forecast = Field(default=Forecast(), description="What is forecast.")

    @model_validator(mode="after")
    def _increasing(self) -> RunComparisonScenario:
        if any(later <= earlier for earlier, later in pairwise(self.snapshots)):
            raise ValueError(f"snapshots must increase, but are {', '.join(map(str, self.snapshots))}")
        return self
