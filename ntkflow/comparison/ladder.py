"""What each assumption of the ladder adds to the error of a forecast."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ntkflow.comparison.forecast import Forecast
from ntkflow.comparison.rungs import LADDER, Model


@dataclasses.dataclass(frozen=True)
class Ladder:
    """The rungs of :data:`ntkflow.comparison.LADDER` that were forecast, at one horizon, for one part of the residual.

    An error is written as log(‖R_e‖ forecast / ‖R_e‖ real): such errors add up along the ladder, and one that is ten
    times too low is not as small as one that is 0. The first rung's is what the constancy of Θʰ costs (and, for a run
    by gradient descent, that it is not a flow).

    Attributes:
        models: from the weakest assumption to the strongest.
        part: index of the part of R, in the order of :data:`ntkflow.kernels.EIGENSPACES`.
        time: since the snapshot.
        log_ratios: log(‖R_e‖ forecast / ‖R_e‖ real) of each model then.
        added: what each adds to the one before; the first, its own. They sum to the last of ``log_ratios``.
        moved: ‖R_e − R_e of the rung before‖ / ‖R_e‖ real: also what leaves the norm as it is.
    """

    models: tuple[Model, ...]
    part: int
    time: float
    log_ratios: Float[np.ndarray, " models"]
    added: Float[np.ndarray, " models"]
    moved: Float[np.ndarray, " models"]

    @property
    def shares(self) -> Float[np.ndarray, " models"]:
        """``added`` over their sum, the last rung's error: they sum to 1; one that mends the error is negative. NaN
        where that error is 0."""
        total = self.log_ratios[-1]
        return self.added / total if total != 0 else np.full(len(self.models), np.nan)


def ladder_of(
    forecasts: Mapping[Model, Forecast],
    real_parts: Float[np.ndarray, "times 3 classes samples"],
    predicted_parts: Mapping[Model, Float[np.ndarray, "times 3 classes samples"]],
    *,
    part: int | None,
    duration: float,
) -> Ladder | None:
    """The ladder at the last compared time within ``duration`` of the snapshot.

    Args:
        forecasts: by model; all at the same times.
        real_parts: the real R at these times, split into global mean, class means, within class.
        predicted_parts: the predicted ones, split alike.
        part: which is judged; ``None``: no part moves, and there is nothing to be judged.
        duration: from :class:`ntkflow.comparison.ForecastErrors`.

    Returns:
        ``None`` with fewer than two rungs, without a part that moves, or where the forecasts end before ``duration``.
    """
    models: tuple[Model, ...] = tuple(model for model in LADDER if model in forecasts)
    if part is None or len(models) < 2:
        return None
    since = forecasts[models[0]].times - forecasts[models[0]].start
    if since[-1] < duration * (1 - 1e-9):
        return None
    last = int(np.flatnonzero(since <= duration * (1 + 1e-12))[-1])
    parts = np.stack([predicted_parts[model][last, part] for model in models])
    real = real_parts[last, part]
    with np.errstate(divide="ignore", invalid="ignore"):
        norms = np.linalg.norm(parts, axis=(1, 2)) / np.linalg.norm(real)
        log_ratios = np.log(norms)
        before = np.concatenate([real[None], parts[:-1]])
        moved = np.linalg.norm(parts - before, axis=(1, 2)) / np.linalg.norm(real)
    added = np.diff(log_ratios, prepend=0.0)
    return Ladder(models, part, float(since[last]), log_ratios, added, moved)
