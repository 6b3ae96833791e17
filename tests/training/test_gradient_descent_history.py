"""What gradient descent keeps: norms at every step, residuals and networks at the right ones."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks.plain_mlp import arrays
from training.backpropagation import part_norms, residual, step
from training.tiny import CLASSES, SNAPSHOTS, STEP, STEPS, Z, dataset, descended, network, problem

from ntkflow.training import History, record_steps, residual_matrix, train_by_gradient_descent


@pytest.fixture(scope="module")
def plain() -> list[list[np.ndarray]]:
    """The parameters before every step and after the last, by NumPy."""
    inputs, targets = np.asarray(dataset().inputs), np.asarray(dataset().target_matrix)
    found = [arrays(network())]
    for _ in range(STEPS):
        found.append(step(found[-1], inputs, targets, "tanh", Z, STEP))
    return found


@pytest.fixture(scope="module")
def plain_residuals(plain: list[list[np.ndarray]]) -> np.ndarray:
    inputs, targets = np.asarray(dataset().inputs), np.asarray(dataset().target_matrix)
    return np.stack([residual(parameters, inputs, targets, "tanh") for parameters in plain])


def train(steps: int, snapshots: tuple[int, ...], records: int = 200) -> History:
    return train_by_gradient_descent(
        network(), problem(), step_size=STEP, steps=steps, snapshots=snapshots, records=records
    )


def test_the_run_is_long_enough_to_test_chunks_and_learning() -> None:
    history = descended()
    assert STEPS > 2 * 256
    assert np.linalg.norm(history.norms[-1]) < 0.3 * np.linalg.norm(history.norms[0])


def test_norms_at_every_step(plain_residuals: np.ndarray) -> None:
    history = descended()
    assert history.norms.shape == (STEPS + 1, 3)
    expected = np.stack([part_norms(item, CLASSES) for item in plain_residuals])
    # Rounding is amplified by the training itself, which is why this is not 1e-15.
    np.testing.assert_allclose(history.norms, expected, rtol=1e-9)
    np.testing.assert_allclose(history.norm_times, [STEP * k for k in range(STEPS + 1)], rtol=1e-15)


def test_residuals_at_the_recorded_steps(plain_residuals: np.ndarray) -> None:
    history = descended()
    assert history.steps is not None
    assert len(history.residuals) == len(history.steps) == len(history.times)
    np.testing.assert_allclose(history.residuals, plain_residuals[history.steps], rtol=0, atol=1e-9)
    np.testing.assert_allclose(history.times, STEP * history.steps, rtol=1e-15)
    assert {*SNAPSHOTS, 0, STEPS} <= set(history.steps.tolist())


def test_checkpoints_are_the_networks_of_their_steps(plain: list[list[np.ndarray]]) -> None:
    history = descended()
    assert [item.step for item in history.checkpoints] == list(SNAPSHOTS)
    assert [item.time for item in history.checkpoints] == [step * STEP for step in SNAPSHOTS]
    for checkpoint in history.checkpoints:
        for own, expected in zip(arrays(checkpoint.network), plain[checkpoint.step], strict=True):
            np.testing.assert_allclose(own, expected, rtol=0, atol=1e-9)
    for own, expected in zip(arrays(history.final), plain[-1], strict=True):
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("index", [1, 2])
def test_training_anew_until_a_snapshot_gives_the_same_bits(index: int) -> None:
    """Whatever is recorded, and however the run is cut into chunks, the steps are the same."""
    checkpoint = descended().checkpoints[index]
    shorter = train(SNAPSHOTS[index], (0,), records=2)
    for own, expected in zip(arrays(shorter.final), arrays(checkpoint.network), strict=True):
        np.testing.assert_array_equal(own, expected)
    # The norms after the last step come from a program of their own, and round on their own.
    np.testing.assert_array_equal(shorter.norms[:-1], descended().norms[: SNAPSHOTS[index]])
    np.testing.assert_allclose(shorter.norms[-1], descended().norms[SNAPSHOTS[index]], rtol=1e-12)


def test_a_recorded_residual_is_that_of_the_checkpoint() -> None:
    history = descended()
    assert history.steps is not None
    for checkpoint in history.checkpoints:
        (place,) = np.flatnonzero(history.steps == checkpoint.step)
        again = residual_matrix(problem(), checkpoint.network)
        np.testing.assert_array_equal(history.residuals[place], again)
        norms = part_norms(history.residuals[place], CLASSES)
        np.testing.assert_allclose(history.norms[checkpoint.step], norms, rtol=1e-12)
    np.testing.assert_array_equal(history.residuals[-1], residual_matrix(problem(), history.final))


def test_one_step_is_a_run() -> None:
    history = train(1, (0,))
    assert history.norms.shape == (2, 3)
    assert history.steps is not None
    assert history.steps.tolist() == [0, 1]


def test_it_prints_itself() -> None:
    text = str(descended())
    assert text.startswith(f"Training by {STEPS} steps to t = {STEP * STEPS:g} in ")
    assert "residual norms (global mean, class means, within class) from [" in text


def test_the_network_it_was_given_is_not_changed() -> None:
    before = [array.copy() for array in arrays(network())]
    train(3, (0,))
    for own, expected in zip(arrays(network()), before, strict=True):
        np.testing.assert_array_equal(own, expected)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(descended().final))


@given(data=st.data(), steps=st.integers(1, 30_000), records=st.integers(2, 400))
def test_recorded_steps(data: st.DataObject, steps: int, records: int) -> None:
    snapshots = sorted(data.draw(st.sets(st.integers(0, steps - 1), min_size=1, max_size=4)))
    found = record_steps(steps, snapshots, records)
    assert found.dtype.kind == "i"
    assert (np.diff(found) > 0).all()
    assert (found[0], found[-1]) == (0, steps)
    assert set(snapshots) <= set(found.tolist())
    assert len(found) <= (len(snapshots) + 1) * (records + 1)
    assert len(found) >= min(records, steps + 1)
    # Evenly spaced ones are among them: no gap is wider than an even one, up to rounding.
    assert np.diff(found).max() <= steps / (min(records, steps + 1) - 1) + 1
    # The forecast after each snapshot has a time close to its start: from 1e-4 of the rest they grow by this factor.
    factor = 1e4 ** (1 / (records - 1))
    for snapshot in snapshots:
        later = found[found > snapshot][0] - snapshot
        assert later <= max(1e-4 * (steps - snapshot), factor) + 1
