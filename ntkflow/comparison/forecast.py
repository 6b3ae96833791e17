"""What a model of the kernel says will happen after a snapshot."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ntkflow.flows import ClassFlow, ClassState, FrozenKernelFlow, Integration, solve
from ntkflow.kernels import TangentKernel
from ntkflow.training import Problem, Snapshot

Model = Literal["full_frozen", "three_values"]

MODELS: dict[Model, str] = {
    "full_frozen": "The whole measured Θʰ, all features and sample pairs, held constant from the snapshot on.",
    "three_values": "Θʰ replaced by its three block values (paper 3, Assumption 3.2), held constant: the flow (25).",
}
"""The models of the kernel that forecasts are made with, and what each assumes."""


@dataclasses.dataclass(frozen=True)
class Forecast:
    """The residual that a model predicts after a snapshot, at times of the real run.

    Attributes:
        model: one of :data:`MODELS`.
        start: time of the snapshot.
        times: gradient-flow times, the snapshot's own first.
        residuals: predicted R there.
        norms: norms of its three parts.
        steps: steps the solver took.
    """

    model: Model
    start: float
    times: Float[np.ndarray, " times"]
    residuals: Float[np.ndarray, "times classes samples"]
    norms: Float[np.ndarray, "times 3"]
    steps: int


def forecast(
    snapshot: Snapshot, problem: Problem, model: Model, times: Float[np.ndarray, " times"], integration: Integration
) -> Forecast:
    """Integrate a model's flow from a snapshot.

    Args:
        snapshot: the state it starts from, and the kernel it is given.
        problem: data and loss scale Z.
        model: one of :data:`MODELS`.
        times: increasing, the first the snapshot's own.
        integration: method and tolerances.

    Raises:
        SolverError: the solver gave up.
    """
    name = f"forecast by {model} from {snapshot.label}"
    # Time counts from the snapshot while integrating, so that no digits are lost to a late start.
    since = jnp.asarray(times - times[0])
    if model == "full_frozen":
        kernel = TangentKernel(snapshot.network, problem.inputs, "features")
        flow = FrozenKernelFlow(kernel, targets=problem.targets, loss_scale=problem.loss_scale)
        trajectory = solve(flow, snapshot.state, since, integration, name=name)
    else:
        block = snapshot.feature_kernel.block.kernel
        flow = ClassFlow(block, targets=problem.targets, loss_scale=problem.loss_scale)
        initial = ClassState.from_sample(snapshot.state, problem.classes)
        trajectory = solve(flow, initial, since, integration, name=name)
    return Forecast(
        model=model,
        start=float(times[0]),
        times=times,
        residuals=np.asarray(trajectory.residuals),
        norms=np.asarray(trajectory.residual_norms),
        steps=int(trajectory.steps),
    )


def forecast_indices(
    times: Float[np.ndarray, " times"], start: float, horizon: float | None, points: int = 160
) -> Int[np.ndarray, " indices"]:
    """Indices of the recorded times a forecast is compared at: some dense after ``start``, some evenly spaced.

    Always ``points`` of them where the run has as many, so that one compilation serves the forecasts of every snapshot.

    Args:
        times: the recorded times.
        start: the snapshot's time, itself a recorded one.
        horizon: how far to go, or None for the end of the run.
        points: how many.
    """
    first = int(np.abs(times - start).argmin())
    last = (
        len(times) - 1 if horizon is None else int(np.searchsorted(times, start + horizon * (1 + 1e-12), "right")) - 1
    )
    available = np.arange(first, max(last, min(first + 1, len(times) - 1)) + 1)
    if len(available) <= points:
        return available
    end = times[available[-1]]
    wanted = np.concatenate(
        [start + (end - start) * np.geomspace(1e-4, 1, points // 2), np.linspace(start, end, points // 2)]
    )
    chosen = np.zeros(len(available), dtype=bool)
    chosen[np.abs(times[available][None, :] - wanted[:, None]).argmin(axis=1)] = True
    chosen[[0, -1]] = True
    # Rounding to recorded times makes some coincide: fill up evenly from those not yet chosen.
    spare = np.flatnonzero(~chosen)
    chosen[spare[np.linspace(0, len(spare) - 1, points - int(chosen.sum())).astype(int)]] = True
    return available[chosen]
