"""Initial states that are made, not read: by which rule, and of which size."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ntkflow.scenario.common import Model, PositiveFloat

Scale = Annotated[float, Field(ge=0)]


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
    within_scale: Scale = Field(default=0.5, description="Standard deviation of the within-class coordinates.")


class UnbalancedState(Model):
    """A state with zero invariant from which one assumption of Theorem 5.2 after the other is taken away."""

    kind: Literal["unbalanced"] = Field(description="How the initial state is made.")
    feature_scale: PositiveFloat = Field(default=0.5, description="Standard deviation of the class means' coordinates.")
    within_scale: Scale = Field(default=0.5, description="Standard deviation of the within-class coordinates.")
    weight_ratio: PositiveFloat = Field(
        default=1.0, description="s: W is multiplied by it, so that E = (s² − 1) WᵀW/m with the W of before."
    )
    outside_scale: Scale = Field(
        default=0.0,
        description="Standard deviation of within-class coordinates outside the row space of W: negative eigenvalues "
        "of E, and scatter that nothing damps.",
    )
    mean_scale: Scale = Field(
        default=0.0, description="Length of the global feature mean ⟨h⟩; W gets the part that leaves E as it is."
    )
