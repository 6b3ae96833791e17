"""The `dispersion` kind: how random the NTK is at initialisation, from formulas and from random networks."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import MAX_COUNT, Model, PositiveFloat, PositiveInt, Seed

Variance = Annotated[float, Field(ge=0)]
Cosine = Annotated[float, Field(ge=-1, le=1)]


class Architecture(Model):
    """Widths of the layers: all hidden ones alike, or on a straight line."""

    width: PositiveInt | None = Field(default=None, description="M, neurons of every hidden layer.")
    first: PositiveInt | None = Field(default=None, description="M₁: the input dimension, where the line begins.")
    last: PositiveInt | None = Field(
        default=None, description="M₂: where it ends; n_l = M₁ + ⌈l (M₂ − M₁)/L⌉ (paper 2, Figure 6)."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Architecture:
        line = self.first is not None and self.last is not None
        if (self.width is None) != line or (self.width is not None and (self.first or self.last)):
            raise ValueError("give either width, or first and last")
        return self

    @property
    def mean_width(self) -> float:
        """M, or (M₁ + M₂)/2."""
        return float(self.width) if self.width is not None else ((self.first or 0) + (self.last or 0)) / 2

    def widths(self, depth: int, input_to_width: float) -> tuple[int, ...]:
        """(n_0, …, n_{L−1})."""
        if self.width is not None:
            return (max(1, round(input_to_width * self.width)), *(self.width,) * (depth - 1))
        first, last = self.first or 1, self.last or 1
        # ⌈a/b⌉ = −⌊−a/b⌋.
        return tuple(first - (-layer * (last - first)) // depth for layer in range(depth))


class MonteCarlo(Model):
    """How many random networks are drawn for each point."""

    samples: int = Field(
        default=500, ge=3, le=MAX_COUNT, description="Networks of each point; at most, where a precision is given."
    )
    precision: PositiveFloat | None = Field(
        default=None,
        description="Stop early, after a multiple of 4096 networks, where the relative standard error of every σ_w is "
        "below this and no network dominates.",
    )


class DispersionScenario(Model):
    """E Θ²/E² Θ of fully connected networks of one output over a grid of depths, widths and initialisations."""

    kind: Literal["dispersion"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random; all σ_w see the same networks.")
    activation: Literal["relu", "tanh", "erf", "gelu", "linear"] = Field(
        default="relu", description="φ of the hidden layers; formulas are for relu."
    )
    architectures: Annotated[tuple[Architecture, ...], Field(strict=False, min_length=1)] = Field(
        description="Widths of the hidden layers."
    )
    input_to_width: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=1)] = Field(
        default=(1.0,), description="α₀ = n_0/M, for hidden layers that are all alike."
    )
    sigma_w_squared: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=1)] = Field(
        description="σ_w², rising: weights are N(0, σ_w²/fan-in)."
    )
    sigma_b_squared: Annotated[tuple[Variance, ...], Field(strict=False, min_length=1)] = Field(
        default=(0.0,), description="σ_b²: biases are N(0, σ_b²); formulas are for 0."
    )
    cosines: Annotated[tuple[Cosine, ...], Field(strict=False, min_length=1)] = Field(
        default=(1.0,), description="Cosines of the angle between x and x̃, both of norm 1; 1 is Θ(x, x)."
    )
    depths: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="L, rising; L weight matrices, L − 1 hidden layers."
    )
    depth_to_width: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="λ = L/M, rising, in place of depths; L is rounded, and at least 1."
    )
    monte_carlo: MonteCarlo | None = Field(default=None, description="Random networks; none unless told.")

    @model_validator(mode="after")
    def _grid(self) -> DispersionScenario:
        if (self.depths is None) == (self.depth_to_width is None):
            raise ValueError("give either depths or depth_to_width")
        for name in ("depths", "depth_to_width", "sigma_w_squared"):
            values = getattr(self, name)
            if values is not None and any(later <= earlier for earlier, later in pairwise(values)):
                raise ValueError(f"{name} must increase, but are {', '.join(f'{value:g}' for value in values)}")
        formulas = self.activation == "relu" and 0.0 in self.sigma_b_squared and 1.0 in self.cosines
        if self.monte_carlo is None and not formulas:
            raise ValueError(
                "there is no formula for this: take relu, σ_b² = 0 and cosine 1, or add a section monte_carlo"
            )
        return self

    def depths_of(self, architecture: Architecture) -> tuple[int, ...]:
        """L of every point."""
        if self.depths is not None:
            return self.depths
        return tuple(max(1, round(ratio * architecture.mean_width)) for ratio in self.depth_to_width or ())
