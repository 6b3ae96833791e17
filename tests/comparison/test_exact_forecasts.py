"""Forecasts are exact where their assumption is, and not where it is not.

A linear layer of features, h = Vx + c, has Θʰ(x, x') = (⟨x, x'⟩ + 1) I whatever V and c are: constant in time, as the
full frozen forecast assumes. On inputs made so that ⟨x, x'⟩ + 1 takes three values it is also the block kernel of
Assumption 3.2.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.tiny import (
    CLASSES,
    LOOSE,
    PER_CLASS,
    SAMPLES,
    Z,
    dataset,
    descended,
    flow_snapshots,
    flowed,
    problem,
    snapshots,
)

from ntkflow.comparison import Model, SnapshotComparison, compare_snapshot
from ntkflow.data import Dataset
from ntkflow.flows import Integration
from ntkflow.kernels import TangentKernel
from ntkflow.networks import MLP
from ntkflow.training import History, Problem, Snapshot, measure_snapshot, train_by_gradient_flow

FINE = Integration(rtol=1e-9, atol=1e-11)
BLOCK = (4.0, 2.5, 1.4)


def block_inputs() -> np.ndarray:
    """N samples in N coordinates with ⟨x, x'⟩ + 1 equal to the three values of :data:`BLOCK`."""
    d, c, n = BLOCK
    same = np.kron(np.eye(CLASSES), np.ones((PER_CLASS, PER_CLASS)))
    kernel = (d - c) * np.eye(SAMPLES) + (c - n) * same + n
    return np.linalg.cholesky(kernel - 1)


def digits_inputs() -> np.ndarray:
    """The digits in coordinates of the space they span: as many as above, with the scalar products they have."""
    pixels = np.asarray(dataset().inputs)
    return np.linalg.cholesky(pixels @ pixels.T)


@dataclasses.dataclass(frozen=True)
class Run:
    problem: Problem
    history: History
    snapshots: list[Snapshot]
    integration: Integration = FINE


@functools.cache
def linear_run(inputs: str) -> Run:
    made = jnp.asarray(block_inputs() if inputs == "block" else digits_inputs())
    data = Dataset(inputs, made, dataset().targets, made[:0], dataset().test_labels[:0], "")
    network = MLP(
        jax.random.key(2),
        inputs=SAMPLES,
        outputs=CLASSES,
        width=1,
        hidden_layers=0,
        features=6,
        activation="linear",
    )
    found = Problem.of(data, Z)
    history = train_by_gradient_flow(network, found, end_time=8.0, snapshots=[0.0, 0.9], records=250, integration=FINE)
    moments = [measure_snapshot(item, found, data.test_inputs, data.test_labels) for item in history.checkpoints]
    return Run(found, history, moments)


def compare(run: Run, index: int, *models: Model, horizon: float | None = None) -> SnapshotComparison:
    return compare_snapshot(
        run.snapshots[index],
        run.history,
        run.problem,
        models=models,
        horizon=horizon,
        integration=run.integration,
        descent=None,
    )


def worst(run: Run, index: int, model: Model) -> float:
    """Largest ‖R forecast − R real‖ over all times, relative to ‖R‖ at the snapshot."""
    found = compare(run, index, model)
    real = run.history.residuals[np.searchsorted(run.history.times, found.times)]
    distance = np.linalg.norm(found.forecasts[model].residuals - real, axis=(1, 2))
    return float(distance.max() / np.linalg.norm(real[0]))


@pytest.mark.slow
def test_the_features_move() -> None:
    """Else any kernel would do."""
    for inputs in ("digits", "block"):
        run = linear_run(inputs)
        before, after = (np.asarray(item.state.features) for item in run.snapshots)
        assert np.linalg.norm(after - before) > 0.1 * np.linalg.norm(before)
        assert np.linalg.norm(run.history.norms[-1]) < 0.3 * np.linalg.norm(run.history.norms[0])


@pytest.mark.parametrize("index", [0, 1])
def test_full_frozen_is_exact_for_a_linear_layer_of_features(index: int) -> None:
    assert worst(linear_run("digits"), index, "full_frozen") <= 1e-6


@pytest.mark.parametrize("index", [0, 1])
def test_three_values_are_exact_on_inputs_with_a_block_gram_matrix(index: int) -> None:
    run = linear_run("block")
    np.testing.assert_allclose(run.snapshots[index].feature_kernel.block.values, BLOCK, rtol=1e-12)
    assert run.snapshots[index].feature_kernel.block_share == pytest.approx(1, abs=1e-12)
    assert worst(run, index, "three_values") <= 1e-6
    assert worst(run, index, "full_frozen") <= 1e-6


@pytest.mark.parametrize("index", [0, 1])
def test_three_values_are_not_exact_on_digits(index: int) -> None:
    """The same network, the same code: only Assumption 3.2 is missing."""
    assert worst(linear_run("digits"), index, "three_values") > 0.02


@pytest.mark.slow
def test_full_frozen_is_not_exact_for_a_tanh_network() -> None:
    """Its kernel moves: the forecast is good at first and not for ever."""
    run = Run(problem(), flowed(), list(flow_snapshots()), LOOSE)
    found = compare(run, 1, "full_frozen")
    errors = found.errors["full_frozen"].vector_errors
    assert errors[0].max() <= 1e-10
    assert errors[1:4].max() < 1e-3
    assert errors[-1].max() > 1e-3


def test_the_frozen_kernel_is_the_constant_one() -> None:
    run = linear_run("digits")
    gram = np.asarray(run.problem.inputs) @ np.asarray(run.problem.inputs).T + 1
    array = np.random.default_rng(0).standard_normal((6, SAMPLES))
    for snapshot in run.snapshots:
        applied = TangentKernel(snapshot.kernels.network, run.problem.inputs, "features").apply(jnp.asarray(array))
        np.testing.assert_allclose(applied, array @ gram, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("model", ["full_frozen", "three_values"])
def test_a_forecast_starts_from_the_real_residual(model: Model) -> None:
    run = Run(problem(), descended(), list(snapshots()), LOOSE)
    found = compare(run, 1, model).forecasts[model]
    snapshot = run.snapshots[1]
    assert (found.start, found.times[0]) == (snapshot.time, snapshot.time)
    np.testing.assert_allclose(found.norms[0], snapshot.residual_norms, rtol=1e-10)
    if model == "full_frozen":
        np.testing.assert_allclose(found.residuals[0], snapshot.residual, rtol=0, atol=1e-10)
    assert found.residuals.shape == (len(found.times), CLASSES, SAMPLES)
    assert found.steps > 0


@pytest.mark.parametrize("model", ["full_frozen", "three_values"])
def test_the_forecasts_first_slope_is_the_measured_rate(model: Model) -> None:
    """At the snapshot both forecasts move as their kernels say; the full one as the real run does."""
    run = Run(problem(), flowed(), list(flow_snapshots()), LOOSE)
    found, snapshot = compare(run, 1, model), run.snapshots[1]
    t = found.times[:3] - found.times[0]
    norms = found.forecasts[model].norms[:3]
    slopes = np.array([-np.polyfit(t, np.log(norms[:, part]), 2)[1] for part in range(3)])
    if model == "full_frozen":
        np.testing.assert_allclose(slopes, snapshot.rates_whole, rtol=1e-3)
    else:
        assert not np.allclose(slopes, snapshot.rates_whole, rtol=1e-2)
