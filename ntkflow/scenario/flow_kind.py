"""The `flow` kind: a block-structured gradient flow without a network, from single initial states or from many."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ntkflow.scenario.common import (
    METHODS,
    BlockValues,
    FeatureProblem,
    LossScale,
    Method,
    Model,
    Seed,
    Solver,
    TimeGrid,
)
from ntkflow.scenario.flow_ensemble import FlowEnsemble, refuse_disordered
from ntkflow.scenario.initial_states import RandomState, UnbalancedState, ZeroInvariantState


class FileState(Model):
    """A NumPy archive with the arrays features (n, N), weight (C, n), bias (C,); samples are sorted by class."""

    kind: Literal["file"] = Field(description="How the initial state is made.")
    path: str = Field(description="A .npz file, relative to the scenario.")


InitialState = Annotated[RandomState | ZeroInvariantState | UnbalancedState | FileState, Field(discriminator="kind")]


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


class FlowSolver(Solver):
    """How the block flow is integrated: the method is chosen by the expected work unless told."""

    method: Method = Field(default="auto", description=METHODS)


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
    representation: Literal["auto", "sample", "class", "invariant"] = Field(
        default="auto",
        description="Coordinates to integrate in: all samples, (19); class means and a factor of the scatter, (25); "
        "the scatter from the invariant; or the cheapest of them. The flow is the same. An ensemble always uses the "
        "invariant.",
    )
    samples: bool = Field(
        default=True,
        description="Whether the cases keep every single sample; metrics that need them are left out otherwise. An "
        "ensemble never keeps them.",
    )
    time: TimeGrid = Field(description="How long, and when to save.")
    solver: FlowSolver = Field(default=FlowSolver(), description="How to integrate.")
    cases: Annotated[tuple[FlowCase, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="The initial states, each a trajectory of its own; or an ensemble."
    )
    ensemble: FlowEnsemble | None = Field(default=None, description="Many initial states at once; or cases.")

    @field_validator("cases")
    @classmethod
    def _distinct_names(cls, cases: tuple[FlowCase, ...] | None) -> tuple[FlowCase, ...] | None:
        names = [case.name for case in cases or ()]
        if len(set(names)) < len(names):
            raise ValueError(f"every case needs its own name, but the names are {', '.join(names)}")
        return cases

    @model_validator(mode="after")
    def _cases_or_ensemble(self) -> FlowScenario:
        if (self.cases is None) == (self.ensemble is None):
            found = "neither" if self.cases is None else "both"
            raise ValueError(f"either cases or an ensemble is needed, but there is {found}")
        if self.ensemble is not None:
            if self.representation not in ("auto", "invariant"):
                raise ValueError(
                    "an ensemble is integrated with the scatter from the invariant; representation: "
                    f"{self.representation} is for cases"
                )
            refuse_disordered(self.kernel, self.ensemble)
        return self
