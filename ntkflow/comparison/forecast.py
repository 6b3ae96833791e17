"""What a model of the kernel says will happen after a snapshot."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ntkflow.collapse import METRICS, collapse_metrics
from ntkflow.comparison.rungs import RUNGS, KernelsOfSnapshot, Model, sample_state_of
from ntkflow.flows import AbstractFlow, Integration, SampleState, Trajectory, solve

_FIRST_STEP = 0.1
"""The solver's first step, in units of the largest stable step of descent at the snapshot."""
_ROUND = 16
"""Forecasts are made at a multiple of so many times."""


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a model predicts after a snapshot, at times of the real run.

    Attributes:
        model: one of :data:`ntkflow.comparison.RUNGS`.
        start: time of the snapshot.
        times: gradient-flow times, the snapshot's own first.
        residuals: predicted R there.
        norms: norms of its three parts.
        losses: ‖R‖²/(2Z).
        metrics: neural-collapse metrics by name, of the predicted H, W, b; none where the model has no features.
        later: the predicted H, W, b at the snapshots that follow, by their place among them; none beyond the horizon.
        steps: steps the solver took.
    """

    model: Model
    start: float
    times: Float[np.ndarray, " times"]
    residuals: Float[np.ndarray, "times classes samples"]
    norms: Float[np.ndarray, "times 3"]
    losses: Float[np.ndarray, " times"]
    metrics: dict[str, Float[np.ndarray, " times"]]
    later: dict[int, SampleState]
    steps: int


def forecast(
    kernels: KernelsOfSnapshot, model: Model, times: Float[np.ndarray, " times"], integration: Integration
) -> Forecast:
    """Integrate a model's flow from a snapshot.

    Args:
        kernels: of the snapshot, and of those after it for the models that update the kernel.
        model: one of :data:`ntkflow.comparison.RUNGS`.
        times: increasing, the first the snapshot's own. H, W and b are given at later snapshots whose times are here.
        integration: method and tolerances.

    Raises:
        SolverError: the solver gave up.
    """
    # Time counts from the snapshot while integrating, so that no digits are lost to a late start.
    flow, initial = RUNGS[model].start(kernels)
    name = f"forecast by {model} from {kernels.snapshot.label}"
    asked = times - times[0]
    if integration.first_step is None:
        # Without a known limit the solver looks for a first step itself.
        limit = kernels.snapshot.step_limit
        first = jnp.asarray(min(_FIRST_STEP * limit, float(asked[-1]))) if math.isfinite(limit) else None
        integration = dataclasses.replace(integration, first_step=first)
    filled = _filled(asked)
    trajectory = solve(flow, initial, jnp.asarray(filled), integration, name=name)
    kept = np.append(np.arange(len(asked) - 1), len(filled) - 1)
    later: dict[int, SampleState] = {}
    for place, moment in enumerate(kernels.following):
        (found,) = np.nonzero(times == moment.time)
        state = sample_state_of(flow, trajectory.state_at(int(kept[found[0]]))) if found.size else None
        if state is not None:
            later[place] = state
    return Forecast(
        model=model,
        start=float(times[0]),
        times=times,
        residuals=np.asarray(trajectory.residuals)[kept],
        norms=np.asarray(trajectory.residual_norms)[kept],
        losses=np.asarray(trajectory.losses)[kept],
        metrics={key: values[kept] for key, values in _metrics(flow, trajectory).items()},
        later=later,
        steps=int(trajectory.steps),
    )


def _filled(times: Float[np.ndarray, " times"]) -> Float[np.ndarray, " more"]:
    """The times with as many more before the last one as make their number a multiple of :data:`_ROUND`: forecasts at
    a few times more or fewer are then one program, and compiling it takes longer than many forecasts."""
    extra = -len(times) % _ROUND
    return np.concatenate([times[:-1], np.linspace(times[-2], times[-1], extra + 2)[1:]])


def _metrics(flow: AbstractFlow[Any], trajectory: Trajectory[Any]) -> dict[str, Float[np.ndarray, " times"]]:
    if sample_state_of(flow, trajectory.state_at(0)) is None:
        return {}
    found = _metrics_over_times(flow, trajectory.states)
    return {name: np.asarray(found[name]) for name in METRICS}


@eqx.filter_jit
def _metrics_over_times(flow: AbstractFlow[Any], states: Any) -> dict[str, Float[Array, " times"]]:
    def one(state: Any) -> dict[str, Float[Array, ""]]:
        sample = sample_state_of(flow, state)
        assert sample is not None
        return collapse_metrics(sample.features, sample.weight, sample.bias)

    return jax.lax.map(one, states)


def forecast_indices(
    times: Float[np.ndarray, " times"],
    start: float,
    horizon: float | None,
    points: int = 160,
    wanted_too: Float[np.ndarray, " wanted"] | None = None,
) -> Int[np.ndarray, " indices"]:
    """Indices of the recorded times a forecast is compared at: some dense after ``start``, some evenly spaced.

    Always ``points`` of them where the run has as many, so that one compilation serves the forecasts of every snapshot.

    Args:
        times: the recorded times.
        start: the snapshot's time, itself a recorded one.
        horizon: how far to go, or None for the end of the run.
        points: how many.
        wanted_too: recorded times that are to be among them where they are within reach; fewer than half of ``points``.
    """
    first = int(np.abs(times - start).argmin())
    last = (
        len(times) - 1 if horizon is None else int(np.searchsorted(times, start + horizon * (1 + 1e-12), "right")) - 1
    )
    available = np.arange(first, max(last, min(first + 1, len(times) - 1)) + 1)
    if len(available) <= points:
        return available
    chosen = np.isin(times[available], () if wanted_too is None else wanted_too)
    end, half = times[available[-1]], (points - int(chosen.sum())) // 2
    wanted = np.concatenate([start + (end - start) * np.geomspace(1e-4, 1, half), np.linspace(start, end, half)])
    chosen[np.abs(times[available][None, :] - wanted[:, None]).argmin(axis=1)] = True
    chosen[[0, -1]] = True
    # Rounding to recorded times makes some coincide: fill up evenly from those not yet chosen.
    spare = np.flatnonzero(~chosen)
    chosen[spare[np.linspace(0, len(spare) - 1, points - int(chosen.sum())).astype(int)]] = True
    return available[chosen]
