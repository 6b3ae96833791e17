"""The `residuals` kind: the residual alone under a constant block kernel."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ntkflow.scenario.common import BlockValues, Classes, LossScale, Model, PositiveFloat, PositiveInt, Seed


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
