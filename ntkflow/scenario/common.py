"""What every kind of scenario is made of: strict models, numbers, sizes, times, solvers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Without an upper bound a mistyped 10**400 passes the checks and breaks the first place that needs a float or an int64.
MAX_COUNT = 1_000_000_000

PositiveFloat = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
LossScale = Literal["one", "samples", "samples_times_outputs"] | PositiveFloat


class Model(BaseModel):
    """The common rules: no unknown keys, no coercion between types, finite numbers, immutable once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class BlockValues(Model):
    """The three values of a block-structured kernel (paper 3, Definition 3.1)."""

    diagonal: float = Field(description="Value on a sample and itself (κ_d or γ_d).")
    same_class: float = Field(description="Value on two distinct samples of one class (κ_c or γ_c).")
    different_class: float = Field(description="Value on samples of two classes (κ_n or γ_n).")

    @model_validator(mode="after")
    def _ordered(self) -> BlockValues:
        if not self.diagonal > self.same_class > self.different_class >= 0:
            raise ValueError(
                "the order diagonal > same_class > different_class >= 0 (paper 3, Definition 3.1) is violated by "
                f"{self.diagonal:g}, {self.same_class:g}, {self.different_class:g}"
            )
        return self


class Classes(Model):
    """A balanced classification problem: every class has the same number of samples."""

    classes: int = Field(ge=2, le=MAX_COUNT, description="Number of classes C.")
    samples_per_class: int = Field(ge=2, le=MAX_COUNT, description="Samples of each class m; N = m C.")


class FeatureProblem(Classes):
    """A balanced problem whose samples have last-layer features."""

    features: PositiveInt = Field(description="Number of last-layer features n; paper 3 assumes n > C.")

    @model_validator(mode="after")
    def _wide(self) -> FeatureProblem:
        if self.features <= self.classes:
            raise ValueError(
                f"features must exceed classes (paper 3 assumes n > C), but {self.features} <= {self.classes}"
            )
        return self


class TimeGrid(Model):
    """The times at which a flow is saved, in units of gradient-flow time with the scenario's loss scale."""

    end: PositiveFloat = Field(description="Last time.")
    points: int = Field(
        default=200, ge=2, le=MAX_COUNT, description="How many times are saved, the first and the last included."
    )
    spacing: Literal["linear", "log"] = Field(default="log", description="How the saved times are spaced.")
    first: PositiveFloat | None = Field(
        default=None, description="With log spacing, the first time after 0; the end divided by 10 000 unless told."
    )

    @model_validator(mode="after")
    def _first_before_end(self) -> TimeGrid:
        if self.first is not None and self.first >= self.end:
            raise ValueError(f"first must be below end, but {self.first:g} >= {self.end:g}")
        return self


Method = Literal["auto", "tsit5", "dopri8", "rkc2", "kvaerno5", "kvaerno5_krylov"]
METHODS = (
    "The one with the least work expected, which the result names; explicit of order 5; explicit of order 8; "
    "stabilised explicit of order 2, for stiff flows at moderate tolerances; implicit of order 5, for stiff flows of "
    "few numbers; the same without a dense Jacobian, for stiff flows of many numbers."
)


class Solver(Model):
    """How a differential equation is integrated."""

    method: Method = Field(default="tsit5", description=METHODS)
    rtol: Annotated[float, Field(gt=0, lt=1)] = Field(default=1e-10, description="Relative tolerance of a step.")
    atol: PositiveFloat = Field(default=1e-12, description="Absolute tolerance of a step.")
    max_steps: PositiveInt = Field(default=1_000_000, description="The solver gives up after so many steps.")
