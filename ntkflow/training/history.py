"""What a training run leaves behind."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from ntkflow.networks import AbstractClassifier


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The network at one moment of training, for everything that is measured or forecast from there."""

    time: float
    step: int | None
    network: AbstractClassifier


@dataclasses.dataclass(frozen=True)
class History:
    """A finished training run.

    Attributes:
        norm_times: gradient-flow times at which the residual's parts were measured: every step of gradient descent.
        norms: norms of the global mean, class means and within-class part there.
        times: the times whose whole residual is stored.
        steps: their steps of gradient descent, or None for a flow.
        residuals: R there.
        checkpoints: the network at the times asked for.
        final: the network at the end; None where the run is known by arrays alone.
        seconds: wall time of training itself.
    """

    norm_times: Float[np.ndarray, " many"]
    norms: Float[np.ndarray, "many 3"]
    times: Float[np.ndarray, " times"]
    steps: Int[np.ndarray, " times"] | None
    residuals: Float[np.ndarray, "times classes samples"]
    checkpoints: tuple[Checkpoint, ...]
    final: AbstractClassifier | None
    seconds: float

    @property
    def moments(self) -> tuple[Checkpoint, ...]:
        """The networks of the checkpoints, and that of the end where there is one."""
        if self.final is None:
            return self.checkpoints
        step = None if self.steps is None else int(self.steps[-1])
        return (*self.checkpoints, Checkpoint(float(self.times[-1]), step, self.final))

    def __str__(self) -> str:
        pace = "gradient flow" if self.steps is None else f"{int(self.steps[-1])} steps"
        return (
            f"Training by {pace} to t = {self.times[-1]:g} in {self.seconds:.1f} s: residual norms (global mean, class "
            f"means, within class) from {np.array2string(self.norms[0], precision=4)} "
            f"to {np.array2string(self.norms[-1], precision=4)}"
        )


def log_spaced_after(start: float, end: float, points: int) -> Float[np.ndarray, " points"]:
    """``points`` times in (start, end], dense just after ``start``: start + (end − start)·geometric from 1e-4 to 1."""
    return start + (end - start) * np.geomspace(1e-4, 1.0, points)
