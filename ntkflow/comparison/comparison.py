"""Theory beside training at one snapshot: rates, forecasts and their errors."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.comparison.errors import ForecastErrors, e_fold_times, forecast_errors
from ntkflow.comparison.forecast import Forecast, Model, forecast, forecast_indices
from ntkflow.comparison.rates import MeasuredRate, gradient_descent_rate, measure_rate
from ntkflow.flows import Integration
from ntkflow.kernels import split_eigenspaces
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
    """

    snapshot: Snapshot
    rates: RateComparison
    times: Float[np.ndarray, " times"]
    real_norms: Float[np.ndarray, "times 3"]
    forecasts: dict[Model, Forecast]
    errors: dict[Model, ForecastErrors]


def compare_rates(snapshot: Snapshot, history: History, problem: Problem, step_size: float | None) -> RateComparison:
    """Measured and predicted decay rates at a snapshot.

    Args:
        snapshot: with its measured Θ.
        history: of the run it was taken from.
        problem: data and Z.
        step_size: η of gradient descent, whose own map from eigenvalue to rate is then applied to the block prediction
            and to the whole kernel's; None for gradient flow.
    """
    block = snapshot.logit_kernel.block
    rate = snapshot.rates_block
    error = block.eigenvalue_standard_errors / problem.loss_scale
    whole = snapshot.rates_whole
    if step_size is not None:
        # The error goes through the derivative of the map, 1/|1 − ηr|.
        error = error / np.abs(1 - step_size * rate)
        rate, whole = gradient_descent_rate(rate, step_size), gradient_descent_rate(whole, step_size)
    measured = [measure_rate(history.norm_times, history.norms[:, part], snapshot.time) for part in range(3)]
    return RateComparison((measured[0], measured[1], measured[2]), rate, error, whole)


def compare_snapshot(
    snapshot: Snapshot,
    history: History,
    problem: Problem,
    *,
    models: tuple[Model, ...],
    horizon: float | None,
    integration: Integration,
    step_size: float | None,
) -> SnapshotComparison:
    """Forecast from a snapshot with every model and compare with the run.

    Raises:
        SolverError: a solver gave up on a forecast.
    """
    indices = forecast_indices(history.times, snapshot.time, horizon)
    times, real = history.times[indices], history.residuals[indices]
    e_folds = e_fold_times(history.norm_times, history.norms, snapshot.time)
    real_parts = _parts(real, problem.classes)
    forecasts: dict[Model, Forecast] = {
        model: forecast(snapshot, problem, model, times, integration) for model in models
    }
    errors: dict[Model, ForecastErrors] = {
        model: forecast_errors(
            made,
            real_parts,
            _parts(made.residuals, problem.classes),
            e_folds,
            reach=float(history.norm_times[-1]) - snapshot.time,
        )
        for model, made in forecasts.items()
    }
    return SnapshotComparison(
        snapshot=snapshot,
        rates=compare_rates(snapshot, history, problem, step_size),
        times=times,
        real_norms=np.linalg.norm(real_parts, axis=(2, 3)),
        forecasts=forecasts,
        errors=errors,
    )


@eqx.filter_jit
def _split(residuals: Float[Array, "times classes samples"], classes: int) -> Float[Array, "times 3 classes samples"]:
    return jax.vmap(lambda residual: split_eigenspaces(residual, classes).parts())(residuals)


def _parts(
    residuals: Float[np.ndarray, "times classes samples"], classes: int
) -> Float[np.ndarray, "times 3 classes samples"]:
    return np.asarray(_split(jnp.asarray(residuals), classes))
