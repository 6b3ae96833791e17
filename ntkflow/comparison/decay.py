"""Decay rates of a residual that was recorded now and then, with the error that noise leaves in them."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy import special

FEWEST_RECORDS = 5
"""Records that a fit needs: two are taken by the line, one by the test of its straightness."""
WIDEST_WINDOW = 15
"""Records that a window has at most unless told."""
CURVED = 1e-3
"""A window is too wide where a parabola fits better than a line at this level of the F test."""


@dataclasses.dataclass(frozen=True)
class DecayFit:
    """−d log‖R_e‖/dt by least squares over a window of records.

    Attributes:
        rate: minus the slope; NaN where there is no window.
        standard_error: of the slope, from the scatter of the records about the line, taken as independent and alike in
            log‖R_e‖. Where the decay is not one exponential within the window, its curvature counts as scatter.
        degrees: of freedom of that scatter, the number of records less 2.
        start: first time of the window.
        end: last time of the window.
    """

    rate: float
    standard_error: float
    degrees: int
    start: float
    end: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's t; raises ``ValueError`` for a level outside (0, 1)."""
        if not 0 < level < 1:
            raise ValueError(f"a level lies between 0 and 1, not at {level}")
        if not np.isfinite(self.standard_error):
            return float("nan"), float("nan")
        half = float(special.stdtrit(self.degrees, (1 + level) / 2)) * self.standard_error
        return self.rate - half, self.rate + half


def fit_decay(
    times: Float[np.ndarray, " records"],
    norms: Float[np.ndarray, " records"],
    centre: int,
    *,
    floor: float = 0.0,
    widest: int = WIDEST_WINDOW,
) -> DecayFit:
    """The decay rate about one record.

    The window grows from five records, evenly to both sides as far as the run goes, while a parabola does not fit
    log‖R_e‖ significantly better than a line (:data:`CURVED`), and up to ``widest`` records. It ends before a record
    that is not above the floor, where what is left is rounding and no decay.

    Args:
        times: of the records, increasing.
        norms: of one part of the residual there; NaN where there is no record.
        centre: index of the record.
        floor: below it a norm says nothing.
        widest: how many records a window has at most.

    Raises:
        ValueError: times that do not increase, or a window of fewer than five.
    """
    if not bool(np.all(np.diff(times) > 0)):
        raise ValueError("a decay is fitted to norms at increasing times")
    if widest < FEWEST_RECORDS:
        raise ValueError(f"a window has at least {FEWEST_RECORDS} records, not {widest}")
    usable = np.isfinite(norms) & (norms > floor)
    if not usable[centre]:
        return _none(float(times[centre]))
    # As far as the records are usable without a gap.
    gaps = np.flatnonzero(~usable)
    first = int(gaps[gaps < centre].max(initial=-1)) + 1
    last = int(gaps[gaps > centre].min(initial=len(times))) - 1
    found: DecayFit | None = None
    for count in range(FEWEST_RECORDS, min(widest, last - first + 1) + 1):
        begin = min(max(centre - count // 2, first), last - count + 1)
        window = slice(begin, begin + count)
        t, log = times[window], np.log(norms[window])
        if found is not None and _bent(t, log):
            break
        found = _line(t, log)
    return _none(float(times[centre])) if found is None else found


def _line(t: Float[np.ndarray, " window"], log: Float[np.ndarray, " window"]) -> DecayFit:
    slope, scatter, squares = _straight(t, log)
    degrees = len(t) - 2
    error = float(np.sqrt(scatter @ scatter / degrees / squares))
    return DecayFit(-slope, error, degrees, float(t[0]), float(t[-1]))


def _straight(
    t: Float[np.ndarray, " window"], values: Float[np.ndarray, " window"]
) -> tuple[float, Float[np.ndarray, " window"], float]:
    """Slope of the best line, what is left beside it, and Σ(t − mean)²."""
    centred = t - t.mean()
    squares = float(centred @ centred)
    slope = float(centred @ values / squares)
    return slope, values - values.mean() - slope * centred, squares


def _bent(t: Float[np.ndarray, " window"], log: Float[np.ndarray, " window"]) -> bool:
    """Whether a parabola is significantly better than a line."""
    _, scatter, _ = _straight(t, log)
    line = float(scatter @ scatter)
    # Rounding of an exact exponential is no bend.
    if line <= len(t) * (1e-14 * max(1.0, float(np.abs(log).max()))) ** 2:
        return False
    # What the square of time adds beside a line, by what it has at right angles to all lines.
    bow = _straight(t, ((t - t[0]) / (t[-1] - t[0])) ** 2)[1]
    gained = float(bow @ scatter) ** 2 / float(bow @ bow)
    rest, degrees = line - gained, len(t) - 3
    if rest <= 1e-12 * line:
        return True
    return bool(special.fdtrc(1, degrees, gained / (rest / degrees)) < CURVED)


def _none(time: float) -> DecayFit:
    return DecayFit(float("nan"), float("nan"), 0, time, time)
