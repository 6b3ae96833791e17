"""Theory beside training at one snapshot: rates, forecasts and their errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.comparison.errors import ForecastErrors, e_fold_times, forecast_errors
from ntkflow.comparison.forecast import Forecast, forecast, forecast_indices
from ntkflow.comparison.ladder import Ladder, ladder_of
from ntkflow.comparison.rates import Descent, MeasuredRate, measure_rate
from ntkflow.comparison.rungs import KernelsOfSnapshot, Model
from ntkflow.flows import Integration
from ntkflow.kernels import split_eigenspaces
from ntkflow.progress import Progress, silent
from ntkflow.training import History, Problem, Snapshot


@dataclasses.dataclass(frozen=True)
class RateComparison:
    """Decay rates of the three parts at a snapshot, all per unit of gradient-flow time of the same Z.

    For a run by gradient descent both predictions are what descent makes of the flow's rate r, −log|1 − ηr|/η: exact
    for the block kernel, of which the parts are eigenspaces, and to first order in η for the whole one.

    Attributes:
        measured: fitted to the run just after the snapshot.
        block: of the nearest block kernel of the measured Θ.
        block_errors: their standard errors, jackknife over samples.
        whole: of the whole measured Θ at the snapshot; for a flow exact at that moment.
    """

    measured: tuple[MeasuredRate, MeasuredRate, MeasuredRate]
    block: Float[np.ndarray, "3"]
    block_errors: Float[np.ndarray, "3"]
    whole: Float[np.ndarray, "3"]


@dataclasses.dataclass(frozen=True)
class SnapshotComparison:
    """Everything predicted from one snapshot, beside what then happened.

    Attributes:
        snapshot: where the predictions start.
        rates: decay rates, measured and predicted.
        times: the recorded times compared at.
        real_norms: norms of the real residual's three parts there.
        forecasts: by model.
        errors: of each forecast.
        state_errors: of each forecast, ‖X forecast − X real‖/‖X real‖ for X = H, W, b at the snapshots that follow; NaN
            beyond the horizon, for models without H, W and b, and for an X that is 0 in the run.
        ladder: what each assumption adds to the error; None where fewer than two rungs were forecast, or no part moves.
    """

    snapshot: Snapshot
    rates: RateComparison
    times: Float[np.ndarray, " times"]
    real_norms: Float[np.ndarray, "times 3"]
    forecasts: dict[Model, Forecast]
    errors: dict[Model, ForecastErrors]
    state_errors: dict[Model, Float[np.ndarray, "following 3"]]
    ladder: Ladder | None


def compare_rates(snapshot: Snapshot, history: History, problem: Problem, descent: Descent | None) -> RateComparison:
    """Measured and predicted decay rates at a snapshot.

    Args:
        snapshot: with its measured Θ.
        history: of the run it was taken from.
        problem: data and Z.
        descent: whose own map from the flow's rate is then applied to the block prediction and to the whole kernel's;
            None for gradient flow.
    """
    logits, rate, error = snapshot.logit_kernel, snapshot.rates_block, np.full(3, np.nan)
    if logits is not None:
        error = logits.block.eigenvalue_standard_errors / problem.loss_scale
    whole = snapshot.rates_whole
    if descent is not None:
        error = descent.rate_error(rate, error)
        rate, whole = descent.rate(rate), descent.rate(whole)
    measured = [measure_rate(history.norm_times, history.norms[:, part], snapshot.time) for part in range(3)]
    return RateComparison((measured[0], measured[1], measured[2]), rate, error, whole)


def compare_snapshot(
    snapshot: Snapshot,
    history: History,
    problem: Problem,
    *,
    moments: Sequence[Snapshot] = (),
    models: tuple[Model, ...],
    horizon: float | None,
    integration: Integration,
    descent: Descent | None,
    progress: Progress = silent,
) -> SnapshotComparison:
    """Forecast from a snapshot with every model and compare with the run.

    Args:
        snapshot: where the forecasts start.
        history: of the run it was taken from.
        problem: data and Z.
        moments: all snapshots of the run in order, this one among them and the end of training last; only this one
            unless told. The H, W, b of later ones are compared with, and models that update the kernel take theirs.
        models: from :data:`ntkflow.comparison.RUNGS`.
        horizon: how far to forecast; to the end of the run if ``None``.
        integration: method and tolerances.
        descent: how the optimiser moves at the snapshot, None for a flow: see :func:`compare_rates`.
        progress: told from model to model.

    Raises:
        SolverError: a solver gave up on a forecast.
    """
    kernels = KernelsOfSnapshot(snapshot, tuple(moments) or (snapshot,), problem, descent)
    following = kernels.following
    later = np.array([item.time for item in following])
    indices = forecast_indices(history.times, snapshot.time, horizon, wanted_too=later)
    times, real = history.times[indices], history.residuals[indices]
    e_folds = e_fold_times(history.norm_times, history.norms, snapshot.time)
    real_parts = _parts(real, problem.classes)
    forecasts: dict[Model, Forecast] = {}
    for index, model in enumerate(models):
        progress("forecasting", index, len(models))
        forecasts[model] = forecast(kernels, model, times, integration)
    progress("forecasting", len(models), len(models))
    predicted: dict[Model, np.ndarray] = {
        model: _parts(made.residuals, problem.classes) for model, made in forecasts.items()
    }
    errors: dict[Model, ForecastErrors] = {
        model: forecast_errors(made, real_parts, predicted[model], e_folds, reach=float(times[-1]) - snapshot.time)
        for model, made in forecasts.items()
    }
    judged = errors[models[0]]
    return SnapshotComparison(
        snapshot=snapshot,
        rates=compare_rates(snapshot, history, problem, descent),
        times=times,
        real_norms=np.linalg.norm(real_parts, axis=(2, 3)),
        forecasts=forecasts,
        errors=errors,
        state_errors={model: _state_errors(made, following) for model, made in forecasts.items()},
        ladder=ladder_of(forecasts, real_parts, predicted, part=judged.slowest, duration=judged.duration),
    )


def _state_errors(made: Forecast, following: Sequence[Snapshot]) -> Float[np.ndarray, "following 3"]:
    found = np.full((len(following), 3), np.nan)
    for place, state in made.later.items():
        for column, (ours, real) in enumerate(
            zip(jax.tree.leaves(state), jax.tree.leaves(following[place].state), strict=True)
        ):
            size = float(jnp.linalg.norm(real))
            if size > 0:
                found[place, column] = float(jnp.linalg.norm(ours - real)) / size
    return found


@eqx.filter_jit
def _split(residuals: Float[Array, "times classes samples"], classes: int) -> Float[Array, "times 3 classes samples"]:
    return jax.vmap(lambda residual: split_eigenspaces(residual, classes).parts())(residuals)


def _parts(
    residuals: Float[np.ndarray, "times classes samples"], classes: int
) -> Float[np.ndarray, "times 3 classes samples"]:
    return np.asarray(_split(jnp.asarray(residuals), classes))
