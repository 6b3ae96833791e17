"""How far a forecast is from the run it forecasts, part by part and horizon by horizon."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from ntkflow.comparison.forecast import Forecast
from ntkflow.kernels import EIGENSPACES

LIMIT = 0.1
"""The relative error that ends a forecast's reliable horizon."""
MOVES = 0.9
"""A part moves if it falls below this share of its norm at the snapshot before the run ends."""


@dataclasses.dataclass(frozen=True)
class ForecastErrors:
    """Errors of one forecast at its times.

    Attributes:
        norm_errors: |‖R_e‖ predicted − ‖R_e‖ real| / ‖R_e‖ real, for the three parts.
        share_errors: the same difference over the norm ‖R‖ of the whole real residual: what the error amounts to.
        total_errors: |‖R‖ predicted − ‖R‖ real| / ‖R‖ real, of the whole residual.
        vector_errors: ‖R_e predicted − R_e real‖ / ‖R_e real‖: also wrong directions count.
        e_folds: time until each real part has fallen to 1/e of its norm at the snapshot, from :func:`e_fold_times`.
        slowest: index of the slowest part that moves: the one with the largest of ``e_folds``, and the last of those
            that have not fallen to 1/e when the run ends; None if none moves.
        duration: how long the forecast is judged for: the e-fold of the slowest part that moves, or to the end of the
            forecast if that comes first; NaN if none moves.
        horizons: time until ``norm_errors`` first passes 10 %, for the three parts; infinite if it never does, NaN for
            a part that is 0 in the run.
    """

    norm_errors: Float[np.ndarray, "times 3"]
    share_errors: Float[np.ndarray, "times 3"]
    total_errors: Float[np.ndarray, " times"]
    vector_errors: Float[np.ndarray, "times 3"]
    e_folds: Float[np.ndarray, "3"]
    slowest: int | None
    duration: float
    horizons: Float[np.ndarray, "3"]

    @property
    def slowest_name(self) -> str | None:
        """Name of the slowest part that moves."""
        return None if self.slowest is None else EIGENSPACES[self.slowest]

    def worst_within(self, times: Float[np.ndarray, " times"], start: float, duration: float) -> Float[np.ndarray, "3"]:
        """Largest norm error of each part within ``duration`` after the snapshot; NaN if the forecast ends before."""
        if times[-1] < start + duration * (1 - 1e-9):
            return np.full(3, np.nan)
        return self.norm_errors[times <= start + duration * (1 + 1e-12)].max(axis=0)

    def worst_total_within(self, times: Float[np.ndarray, " times"], start: float, duration: float) -> float:
        """Largest error of the whole residual's norm within ``duration``; NaN if the forecast ends before."""
        if times[-1] < start + duration * (1 - 1e-9):
            return float("nan")
        return float(self.total_errors[times <= start + duration * (1 + 1e-12)].max())


def forecast_errors(
    forecast: Forecast,
    real_parts: Float[np.ndarray, "times 3 classes samples"],
    predicted_parts: Float[np.ndarray, "times 3 classes samples"],
    e_folds: Float[np.ndarray, "3"],
    reach: float,
) -> ForecastErrors:
    """Compare a forecast with the real residual at the same times, split into the same parts.

    Args:
        forecast: whose times both arrays share.
        real_parts: the real R split into global mean, class means, within class.
        predicted_parts: the predicted R, split alike.
        e_folds: from :func:`e_fold_times`.
        reach: time from the snapshot to the end of the forecast, which may be that of the run.
    """
    real = np.linalg.norm(real_parts, axis=(2, 3))
    predicted = np.linalg.norm(predicted_parts, axis=(2, 3))
    distance = np.linalg.norm(predicted_parts - real_parts, axis=(2, 3))
    total, predicted_total = (np.sqrt((norms**2).sum(axis=1)) for norms in (real, predicted))
    # A part that is exactly 0 in the run (no within-class part, say) leaves nothing to be relative to.
    safe = np.where(real > 0, real, np.nan)
    norm_errors = np.abs(predicted - real) / safe
    beyond = norm_errors > LIMIT
    horizons = np.where(beyond.any(axis=0), forecast.times[beyond.argmax(axis=0)] - forecast.start, np.inf)
    moving = np.flatnonzero(~np.isnan(e_folds))
    # Of equal ones, which are those that have not fallen to 1/e, the last: its eigenvalue is the smallest.
    slowest = int(max(moving, key=lambda part: (e_folds[part], part))) if moving.size else None
    return ForecastErrors(
        norm_errors=norm_errors,
        share_errors=np.abs(predicted - real) / total[:, None],
        total_errors=np.abs(predicted_total - total) / total,
        vector_errors=distance / safe,
        e_folds=e_folds,
        slowest=slowest,
        duration=float("nan") if slowest is None else min(float(e_folds[slowest]), reach),
        horizons=np.where(np.isnan(norm_errors).any(axis=0), np.nan, horizons),
    )


def e_fold_times(
    times: Float[np.ndarray, " times"], norms: Float[np.ndarray, "times 3"], start: float
) -> Float[np.ndarray, "3"]:
    """Time after ``start`` until each part's norm first is at most 1/e of what it was there.

    Infinite for a part that moves (falls below :data:`MOVES` of its norm by the end) without reaching 1/e in the run;
    NaN for one that does not move.
    """
    first = int(np.abs(times - start).argmin())
    # A part that is 0 at the start does not move.
    below = (norms[first:] <= norms[first] / np.e) & (norms[first] > 0)
    unfinished = np.where(norms[-1] < MOVES * norms[first], np.inf, np.nan)
    return np.where(below.any(axis=0), times[first:][below.argmax(axis=0)] - times[first], unfinished)
