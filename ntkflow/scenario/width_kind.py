"""The `width` kind: real networks of several widths beside the network of infinite width."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import MAX_COUNT, LossScale, Model, PositiveFloat, PositiveInt, Seed
from ntkflow.scenario.data_sources import Data


class WideNetwork(Model):
    """Fully connected networks in the NTK parametrisation, alike but for their width."""

    hidden_layers: PositiveInt = Field(description="Layers with φ behind them; one dense layer follows the last.")
    activation: Literal["relu", "erf", "gelu", "tanh"] = Field(description="φ after every hidden layer.")
    sigma_w: PositiveFloat = Field(default=2**0.5, description="σ_w: weights are σ_w/√fan-in times N(0, 1).")
    sigma_b: Annotated[float, Field(ge=0)] = Field(default=0.0, description="σ_b: biases are σ_b times N(0, 1).")


class WidthScenario(Model):
    """Networks of several widths, several seeds each, trained beside their linearisations and the infinite limit."""

    kind: Literal["width"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random: which samples, which initial weights.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    data: Data = Field(description="Which samples.")
    test_samples_per_class: int = Field(
        ge=1, le=MAX_COUNT, description="Test samples of each class, drawn from those that are not trained on."
    )
    network: WideNetwork = Field(description="Which networks.")
    widths: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=2)] = Field(
        description="Neurons of every hidden layer, rising."
    )
    seeds: Annotated[int, Field(ge=2, le=MAX_COUNT)] = Field(
        default=5, description="Networks of each width, from independent starts."
    )
    step_size: PositiveFloat = Field(description="η of full-batch gradient descent, of the loss ‖R‖²/(2Z).")
    steps: PositiveInt = Field(description="Steps to take.")

    @model_validator(mode="after")
    def _rising(self) -> WidthScenario:
        if any(later <= earlier for earlier, later in pairwise(self.widths)):
            raise ValueError(f"widths must increase, but are {', '.join(map(str, self.widths))}")
        return self
