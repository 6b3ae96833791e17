"""Everything that a run of the `kernel` kind found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.experiments.kernel_moment import KernelMoment

SYMBOLS = {"logits": "Θ", "features": "Θʰ"}
STORED_NUMBERS = 8_000_000
"""At most so many numbers of kernel matrices are stored for one kernel: 64 MB in float64."""


@dataclasses.dataclass(frozen=True)
class KernelRun:
    """A network's kernels at the moments that were asked for.

    Attributes:
        scenario: what was asked for.
        dataset: the samples.
        parameters: how many the network has.
        origin: the file that the network is from, in words; empty for a new one.
        normalization: which statistics its layers use, in words; empty for a network without.
        z: "Z = N = 80".
        loss_scale: Z.
        steps: of training behind the network at each moment, those before this run included.
        times: gradient-flow time of this run at each moment.
        losses: ‖R‖²/(2Z) at each.
        accuracies: share of training samples classified right at each.
        kernels: by name, "logits" and "features", a measurement for each moment.
    """

    scenario: schema.KernelScenario
    dataset: Dataset
    parameters: int
    origin: str
    normalization: str
    z: str
    loss_scale: float
    steps: np.ndarray
    times: np.ndarray
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    kernels: Mapping[str, tuple[KernelMoment, ...]]

    @property
    def stored(self) -> tuple[int, ...]:
        """Which moments have their matrices stored: all of them, the first and the last, or none."""
        allowed = STORED_NUMBERS // self.dataset.inputs.shape[0] ** 2
        every = range(self.steps.size)
        if len(every) <= allowed:
            return tuple(every)
        return (0, len(every) - 1) if allowed >= 2 else ()
