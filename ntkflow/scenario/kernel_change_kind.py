"""The `kernel_change` kind: how far Θ moves in training, over the plane of σ_w² and depth."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import MAX_COUNT, LossScale, Model, PositiveFloat, PositiveInt, Seed
from ntkflow.scenario.data_sources import Data
from ntkflow.scenario.training_kind import StalledLoss


class PlaneNetwork(Model):
    """What all networks of the plane have in common: the standard parametrisation, all hidden layers of one width."""

    activation: Literal["relu", "tanh", "erf", "gelu"] = Field(description="φ after every hidden layer.")
    sigma_b2: Annotated[float, Field(ge=0)] = Field(default=0.0, description="σ_b²: biases are N(0, σ_b²).")


class KernelChangeScenario(Model):
    """Networks of several σ_w², depths and widths, trained until they end: the change of Θ and the smallest loss."""

    kind: Literal["kernel_change"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random: which samples, which initial weights.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    data: Data = Field(description="Which samples.")
    network: PlaneNetwork = Field(description="Which networks.")
    sigma_w2: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=2)] = Field(
        description="σ_w², rising: weights are N(0, σ_w²/fan-in) in every layer."
    )
    depths: Annotated[tuple[Annotated[int, Field(ge=2, le=MAX_COUNT)], ...], Field(strict=False, min_length=1)] = Field(
        description="Layers with weights L, rising; L − 1 of them are hidden, and the last one is linear."
    )
    widths: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = Field(
        description="Neurons of every hidden layer M, rising."
    )
    seeds: Annotated[int, Field(ge=2, le=MAX_COUNT)] = Field(
        default=2, description="Networks of each σ_w², depth and width, from independent starts."
    )
    step_size: PositiveFloat = Field(description="η of full-batch gradient descent, of the loss ‖R‖²/(2Z).")
    steps: PositiveInt = Field(description="Steps at most.")
    measured_steps: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = Field(
        default=(), description="Steps after which the change is measured, rising; at the end it is anyway."
    )
    stopping: StalledLoss = Field(
        default=StalledLoss(kind="stalled_loss"), description="The rule that ends a training earlier."
    )
    kernel: Literal["traced", "all_pairs"] = Field(
        default="traced",
        description="Which Θ: Σ_k Θ_kk over the outputs k, an N×N matrix, or Θ_ks of all pairs of outputs, NC×NC.",
    )
    precision: Literal["float32", "float64"] = Field(
        default="float64",
        description="Of parameters, inputs and training; kernels are measured in float64. At small steps float32 "
        "rounds away updates, and decreases of the loss by 1e-7.",
    )

    @model_validator(mode="after")
    def _rising(self) -> KernelChangeScenario:
        for name, values in (
            ("sigma_w2", self.sigma_w2),
            ("depths", self.depths),
            ("widths", self.widths),
            ("measured_steps", self.measured_steps),
        ):
            if any(later <= earlier for earlier, later in pairwise(values)):
                raise ValueError(f"{name} must increase, but are {', '.join(f'{value:g}' for value in values)}")
        if self.measured_steps and self.measured_steps[-1] > self.steps:
            raise ValueError(f"measured_steps must not go beyond steps, but {self.measured_steps[-1]} > {self.steps}")
        return self
