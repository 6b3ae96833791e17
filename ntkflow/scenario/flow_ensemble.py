"""Ensembles of the `flow` kind: one rule for initial states, repeated and with values that vary."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import BlockValues, Model, PositiveInt
from ntkflow.scenario.initial_states import RandomState, UnbalancedState, ZeroInvariantState

MAX_MEMBERS = 1_000_000

VariedKey = Literal[
    "kernel.diagonal",
    "kernel.same_class",
    "kernel.different_class",
    "initial.weight_scale",
    "initial.feature_scale",
    "initial.within_scale",
    "initial.weight_ratio",
    "initial.outside_scale",
    "initial.mean_scale",
]
_MAY_BE_ZERO = ("kernel.different_class", "initial.within_scale", "initial.outside_scale", "initial.mean_scale")


class Variation(Model):
    """One value that differs between the members of an ensemble: listed, or drawn for each of them."""

    key: VariedKey = Field(description="Which value of the kernel or of the initial state.")
    values: Annotated[tuple[float, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="The values themselves; every combination with the other lists is run."
    )
    low: float | None = Field(default=None, description="Lower end of what is drawn, in place of values.")
    high: float | None = Field(default=None, description="Upper end of what is drawn.")
    draw: Literal["uniform", "log_uniform"] = Field(
        default="uniform", description="Distribution of what is drawn: of the value, or of its logarithm."
    )

    @model_validator(mode="after")
    def _listed_or_drawn(self) -> Variation:
        if self.values is not None:
            if self.low is not None or self.high is not None:
                raise ValueError(f"{self.key}: either values, or low and high, but not both")
            self._check(self.values)
            if len(set(self.values)) < len(self.values):
                raise ValueError(f"{self.key}: a value is listed twice in {', '.join(map(repr, self.values))}")
        elif self.low is None or self.high is None:
            raise ValueError(f"{self.key}: values are needed, or low and high to draw between")
        else:
            if not self.low < self.high:
                raise ValueError(f"{self.key}: low must be below high, but {self.low:g} >= {self.high:g}")
            if self.draw == "log_uniform" and not self.low > 0:
                raise ValueError(f"{self.key}: draw: log_uniform needs low > 0, not {self.low:g}")
            self._check((self.low,))
        return self

    def _check(self, values: tuple[float, ...]) -> None:
        for value in values:
            if value < 0 or (value == 0 and self.key not in _MAY_BE_ZERO):
                least = ">= 0" if self.key in _MAY_BE_ZERO else "> 0"
                raise ValueError(f"{self.key}: a number {least} is needed, not {value:g}")


class FlowEnsemble(Model):
    """Many members: every combination of the listed values, each with several random initial states.

    The r-th member of every combination has the same random numbers, so that combinations are compared in pairs.
    """

    initial: Annotated[RandomState | ZeroInvariantState | UnbalancedState, Field(discriminator="kind")] = Field(
        description="Where the members start."
    )
    repeats: PositiveInt = Field(default=1, description="Random initial states for each combination.")
    vary: Annotated[tuple[Variation, ...], Field(strict=False)] = Field(
        default=(), description="What differs between members besides the random numbers."
    )
    chunk: PositiveInt | None = Field(
        default=None, description="Members integrated at once; by the device and its memory unless told."
    )

    @property
    def listed(self) -> tuple[Variation, ...]:
        """The variations whose values are listed."""
        return tuple(item for item in self.vary if item.values is not None)

    @property
    def drawn(self) -> tuple[Variation, ...]:
        """The variations that are drawn for each member."""
        return tuple(item for item in self.vary if item.values is None)

    @property
    def members(self) -> int:
        """How many trajectories."""
        return self.repeats * math.prod(len(item.values or ()) for item in self.listed)

    def combinations(self) -> Iterator[dict[str, float]]:
        """Every combination of the listed values by key, the last list fastest."""
        keys = [item.key for item in self.listed]
        for values in itertools.product(*(item.values or () for item in self.listed)):
            yield dict(zip(keys, values, strict=True))

    @model_validator(mode="after")
    def _keys(self) -> FlowEnsemble:
        keys = [item.key for item in self.vary]
        if len(set(keys)) < len(keys):
            raise ValueError(f"every key may vary once, but they are {', '.join(keys)}")
        known = type(self.initial).model_fields
        for key in keys:
            part, _, name = key.partition(".")
            if part == "initial" and name not in known:
                has = ", ".join(f"initial.{field}" for field in known if field not in ("kind", "rectified"))
                raise ValueError(f"{key} is no value of an initial state of kind {self.initial.kind}, which has {has}")
        if self.members > MAX_MEMBERS:
            raise ValueError(f"{self.members} members are asked for, more than {MAX_MEMBERS}")
        return self


def refuse_disordered(kernel: BlockValues, ensemble: FlowEnsemble) -> None:
    """Raise ``ValueError`` for the first combination of listed values that violates the kernel's order.

    Where values of the kernel are drawn, only the draws can tell.
    """
    if any(item.key.startswith("kernel.") for item in ensemble.drawn):
        return
    for values in ensemble.combinations():
        refuse_disordered_values(kernel, values)


def refuse_disordered_values(kernel: BlockValues, values: dict[str, float]) -> None:
    """Raise ``ValueError`` if the kernel with these values in the place of its own violates the order."""
    d = values.get("kernel.diagonal", kernel.diagonal)
    c = values.get("kernel.same_class", kernel.same_class)
    n = values.get("kernel.different_class", kernel.different_class)
    if not d > c > n >= 0:
        varied = ", ".join(f"{key} = {value:g}" for key, value in values.items())
        raise ValueError(
            f"the order diagonal > same_class > different_class >= 0 (paper 3, Definition 3.1) is violated by {d:g}, "
            f"{c:g}, {n:g} of the member with {varied}"
        )
