"""A training run that forecasts are compared with, wherever it is from."""

from __future__ import annotations

import dataclasses

from jaxtyping import Array, Float, Int

from ntkflow import scenario as schema
from ntkflow.comparison import Descent
from ntkflow.data import Precision
from ntkflow.training import Checkpoint, History, MeasuredMoment, Problem


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """What a comparison is of.

    Attributes:
        kind: of the scenario.
        name: title of the result.
        description: what it shows; may be empty.
        seed: of the scenario.
        text: the resolved scenario, or what stands for it.
        statements: what was run, in sentences.
        problem: data and Z.
        z: how Z reads, "Z = N = 80".
        test_inputs: samples that are not trained on; may be none.
        test_labels: their classes.
        history: the run.
        moments: networks whose kernels are measured, or what was measured of them elsewhere; rising in time, the end of
            the run last.
        descents: how the optimiser moves at each moment; None: the run is a flow.
        forecast: what is forecast.
        warnings: what has to be told of the run.
        kernel_precision: to measure kernels over pairs of samples in.
    """

    kind: str
    name: str
    description: str
    seed: int
    text: str
    statements: tuple[str, ...]
    problem: Problem
    z: str
    test_inputs: Float[Array, "samples ..."]
    test_labels: Int[Array, " samples"]
    history: History
    moments: tuple[Checkpoint | MeasuredMoment, ...]
    descents: tuple[Descent, ...] | None
    forecast: schema.Forecast
    warnings: tuple[str, ...] = ()
    kernel_precision: Precision = "float64"

    def descent(self, index: int) -> Descent | None:
        """How the optimiser moves at a moment."""
        return None if self.descents is None else self.descents[index]
