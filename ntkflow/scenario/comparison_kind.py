"""The `comparison` kind: a network trained on real data beside forecasts of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import MAX_COUNT, LossScale, Method, Model, PositiveFloat, PositiveInt, Seed, Solver
from ntkflow.scenario.data_sources import Data
from ntkflow.scenario.networks import MLP, StoredMLP

_AGAIN = "as many again, dense at first, after each snapshot"


class TrainingSolver(Solver):
    """How the parameters are integrated: looser than a flow without a network, which is far cheaper a step.

    A class of its own, so that a scenario which names only the method keeps these tolerances.
    """

    rtol: Annotated[float, Field(gt=0, lt=1)] = Field(default=1e-7, description="Relative tolerance of a step.")
    atol: PositiveFloat = Field(default=1e-9, description="Absolute tolerance of a step.")


class ForecastSolver(Solver):
    """How the forecasts are integrated: looser than training, which they only approximate, and stabilised: they are
    stiff."""

    method: Method = Field(
        default="rkc2", description="As for every solver; the forecasts' own default is the stabilised one."
    )
    rtol: Annotated[float, Field(gt=0, lt=1)] = Field(default=1e-6, description="Relative tolerance of a step.")
    atol: PositiveFloat = Field(default=1e-8, description="Absolute tolerance of a step.")


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


Rung = Literal[
    "linearized",
    "mean_jacobian_linear",
    "mean_jacobian",
    "updated_linear",
    "updated",
    "full_frozen",
    "neuron_diagonal",
    "isotropic",
    "within_spectrum",
    "matrix_blocks",
    "neuron_values",
    "three_values",
]


class Forecast(Model):
    """What is forecast from every snapshot, and how far."""

    models: Annotated[tuple[Rung, ...], Field(strict=False, min_length=1)] = Field(
        default=("full_frozen", "three_values"),
        description="Rungs of the assumption ladder, from the whole Θʰ to its three block values: full_frozen (as "
        "measured, constant), neuron_diagonal (nothing between two features), isotropic (one kernel for all features), "
        "within_spectrum (three values but for the spectrum within classes), matrix_blocks (A_d, A_c, A_n), "
        "neuron_values (three values a feature), three_values. Above them: linearized (Θ of the logits constant), "
        "updated (Θʰ of the last snapshot so far), updated_linear (linear between snapshots, which knows later ones), "
        "mean_jacobian and mean_jacobian_linear (likewise, of the mean Jacobian over ten steps: for ReLU).",
    )
    horizon: PositiveFloat | None = Field(
        default=None,
        description="How far each forecast reaches, in gradient-flow time; the end of training unless told.",
    )
    solver: ForecastSolver = Field(default=ForecastSolver(), description="How to integrate the forecasts.")

    @model_validator(mode="after")
    def _once(self) -> Forecast:
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"models: each once, but they are {', '.join(self.models)}")
        return self


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
    # Full-batch training by the parameters' own gradients, without batch statistics: fully-connected networks only.
    network: Annotated[MLP | StoredMLP, Field(discriminator="kind")] = Field(
        description="Which network; fully connected, and in the standard parametrisation."
    )
    training: Training = Field(description="How it is trained.")
    forecast: Forecast = Field(default=Forecast(), description="What is forecast.")

    @model_validator(mode="after")
    def _readout_follows_its_gradient(self) -> ComparisonScenario:
        if isinstance(self.network, MLP) and self.network.parametrization == "ntk":
            raise ValueError(
                "network: parametrization: ntk lets W and b of the classifier move σ_w²/n and σ_b² times as fast as "
                "their own gradients, which the forecasts do not know; take standard"
            )
        return self
