"""Decay rates of the residual's parts: measured in a real run, and predicted by a kernel, in one unit of time."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from ntkflow.training.observations import stability_threshold

WINDOW = 0.05
"""A measured rate is fitted until log‖R_e‖ has moved by this much: little, since real decays are not exponential."""
FEWEST = 5
"""Points that a fit needs."""


@dataclasses.dataclass(frozen=True)
class MeasuredRate:
    """−d log‖R_e‖/dt over a window that starts at a snapshot.

    Attributes:
        value: minus the least-squares slope of log‖R_e‖ against gradient-flow time; NaN with fewer than 5 points.
        curvature: half the difference between the slopes of the window's two halves: how far from one exponential the
            decay is within the window. Not a standard error: the run has no noise.
        start: first time of the window.
        end: last time of the window.
    """

    value: float
    curvature: float
    start: float
    end: float


def measure_rate(times: Float[np.ndarray, " times"], norms: Float[np.ndarray, " times"], start: float) -> MeasuredRate:
    """Fit the decay rate of one part of the residual just after ``start``.

    The window ends where log‖R_e‖ has moved by :data:`WINDOW`, or at the fifth point if that comes later, or with the
    run.
    """
    first = int(np.searchsorted(times, start - 1e-12 * max(abs(start), 1.0)))
    t, norm = times[first:], norms[first:]
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(norm)
        moved = np.flatnonzero(np.abs(log - log[0]) >= WINDOW) if len(log) else np.empty(0, dtype=int)
    stop = max(int(moved[0]) + 1 if moved.size else len(t), FEWEST)
    t, log = t[:stop], log[:stop]
    if len(t) < FEWEST or not np.isfinite(log).all():
        return MeasuredRate(float("nan"), float("nan"), start, float(t[-1]) if len(t) else start)
    middle = len(t) // 2
    halves = _slope(t[: middle + 1], log[: middle + 1]), _slope(t[middle:], log[middle:])
    return MeasuredRate(-_slope(t, log), abs(halves[0] - halves[1]) / 2, float(t[0]), float(t[-1]))


@dataclasses.dataclass(frozen=True)
class Descent:
    """How an optimiser moves, for the rates and the steps that follow from it.

    Attributes:
        step_size: η.
        momentum: β in [0, 1).
        nesterov: whether the gradient is taken ahead.
    """

    step_size: float
    momentum: float = 0.0
    nesterov: bool = False

    @property
    def stability_factor(self) -> float:
        """The largest stable step over that without momentum, 2/r: 1 + β, with Nesterov (1 + β)/(1 + 2β)."""
        return stability_threshold(1.0, self.momentum, nesterov=self.nesterov) / 2

    def rate(self, rate: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """What it makes of a flow's rate: :func:`gradient_descent_rate`."""
        return gradient_descent_rate(rate, self.step_size, self.momentum, nesterov=self.nesterov)

    def rate_error(self, rate: Float[np.ndarray, "..."], error: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Half the difference of what one standard error of the flow's rate to either side gives."""
        with np.errstate(invalid="ignore"):
            return np.abs(self.rate(rate + error) - self.rate(rate - error)) / 2


def gradient_descent_rate(
    rate: Float[np.ndarray, "..."], step_size: float, momentum: float = 0.0, *, nesterov: bool = False
) -> Float[np.ndarray, "..."]:
    """The rate −log|ϱ|(1 − β)/η per unit of time t = ηk/(1 − β) at which k steps of gradient descent decay where the
    flow decays at r.

    With x = ηr, ϱ is the larger root of ϱ² − (1 + β − x)ϱ + β, with Nesterov of ϱ² − (1 + β)(1 − x)ϱ + β(1 − x)
    (``docs/theory/training.md``); 1 − x without momentum (paper 3, (13)–(15)). For small x it is the flow's rate; where
    the roots are complex, that of the envelope. Infinite at x = 1 without momentum, negative (growth) where descent is
    unstable.

    Args:
        rate: r, of any shape.
        step_size: η.
        momentum: β in [0, 1).
        nesterov: which of the two.
    """
    x = step_size * np.asarray(rate, dtype=float)
    if nesterov:
        trace, product = (1 + momentum) * (1 - x), momentum * (1 - x)
    else:
        trace, product = 1 + momentum - x, np.full_like(x, momentum)
    discriminant = trace**2 - 4 * product
    real = (np.abs(trace) + np.sqrt(np.maximum(discriminant, 0.0))) / 2
    size = np.where(discriminant < 0, np.sqrt(np.maximum(product, 0.0)), real)
    with np.errstate(divide="ignore"):
        return -np.log(size) * (1 - momentum) / step_size


def _slope(t: Float[np.ndarray, " times"], y: Float[np.ndarray, " times"]) -> float:
    centred = t - t.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))
