"""The gradient flow of the parameters against SciPy's integrator on a gradient by hand, and as a limit of descent."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from networks.plain_mlp import arrays
from scipy.integrate import solve_ivp
from training.backpropagation import flat, gradient, part_norms, residual, shaped
from training.tiny import CLASSES, END, FLOW_SNAPSHOTS, TIGHT, Z, dataset, flowed, network, problem

from ntkflow.training import ParameterFlow, residual_matrix, train_by_gradient_descent, train_by_gradient_flow

CHECKED = slice(None, None, 40)


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    """Parameters at some of the recorded times, by DOP853 in NumPy: (times, parameters)."""
    inputs, targets, like = np.asarray(dataset().inputs), np.asarray(dataset().target_matrix), arrays(network())

    def velocity(t: float, vector: np.ndarray) -> np.ndarray:
        return -flat(gradient(shaped(vector, like), inputs, targets, "tanh", Z))

    times = np.union1d(flowed().times[CHECKED], [*FLOW_SNAPSHOTS, END])
    solution = solve_ivp(velocity, (0, END), flat(like), "DOP853", times, rtol=1e-11, atol=1e-12)
    assert solution.success
    return np.column_stack([times, solution.y.T])


def relative(own: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(own) - expected) / np.linalg.norm(expected))


def test_the_run_goes_far_enough_to_mean_something() -> None:
    history = flowed()
    assert np.linalg.norm(history.norms[-1]) < 0.5 * np.linalg.norm(history.norms[0])
    assert len(history.times) > 3 * 32


def test_residuals_and_norms_against_scipy(plain: np.ndarray) -> None:
    inputs, targets, like = np.asarray(dataset().inputs), np.asarray(dataset().target_matrix), arrays(network())
    history = flowed()
    assert history.steps is None
    worst = 0.0
    for t, vector in zip(plain[:, 0], plain[:, 1:], strict=True):
        place = int(np.argmin(np.abs(history.times - t)))
        assert history.times[place] == t
        expected = residual(shaped(vector, like), inputs, targets, "tanh")
        worst = max(worst, relative(history.residuals[place], expected))
        np.testing.assert_allclose(history.norms[place], part_norms(expected, CLASSES), rtol=1e-6)
    assert worst <= 1e-6


def test_checkpoints_and_the_end_against_scipy(plain: np.ndarray) -> None:
    history = flowed()
    assert [item.time for item in history.checkpoints] == list(FLOW_SNAPSHOTS)
    assert [item.step for item in history.checkpoints] == [None, None]
    moments = [*((item.time, item.network) for item in history.checkpoints), (END, history.final)]
    for t, net in moments:
        (place,) = np.flatnonzero(plain[:, 0] == t)
        assert relative(flat(arrays(net)), plain[place, 1:]) <= 1e-6


def test_every_norm_is_that_of_the_residual_beside_it() -> None:
    history = flowed()
    np.testing.assert_array_equal(history.norm_times, history.times)
    expected = np.stack([part_norms(item, CLASSES) for item in history.residuals])
    np.testing.assert_allclose(history.norms, expected, rtol=1e-12)
    for checkpoint in history.checkpoints:
        (place,) = np.flatnonzero(history.times == checkpoint.time)
        again = residual_matrix(problem(), checkpoint.network)
        np.testing.assert_allclose(history.residuals[place], again, rtol=0, atol=1e-12)


def test_descent_converges_to_the_flow_at_first_order_in_the_step() -> None:
    """Errors of the residual matrix at one common time halve with the step."""
    flow = flowed()
    place = int(np.argmin(np.abs(flow.times - FLOW_SNAPSHOTS[1])))
    time, exact = flow.times[place], flow.residuals[place]
    errors = []
    for steps in (260, 520, 1040):
        descent = train_by_gradient_descent(
            network(), problem(), step_size=time / steps, steps=steps, snapshots=[0], records=2
        )
        errors.append(float(np.linalg.norm(descent.residuals[-1] - exact)))
    ratios = np.divide(errors[:-1], errors[1:])
    # Far above the flow's own error, so that it is the step that is seen.
    assert errors[-1] > 1e3 * 1e-10 * np.linalg.norm(exact)
    np.testing.assert_allclose(ratios, 2, rtol=0.15)


def test_the_loss_never_rises() -> None:
    losses = (flowed().norms ** 2).sum(axis=1)
    assert (np.diff(losses) < 0).all()


def test_a_later_start_continues_the_same_flow() -> None:
    """Autonomous: from a checkpoint on, the rest of the run is a run of its own."""
    history = flowed()
    checkpoint = history.checkpoints[1]
    rest = train_by_gradient_flow(
        checkpoint.network,
        problem(),
        end_time=END - checkpoint.time,
        snapshots=[0.0],
        records=40,
        integration=TIGHT,
    )
    assert relative(rest.residuals[-1], history.residuals[-1]) <= 1e-7


def test_the_vector_field_lowers_for_cuda() -> None:
    flow = ParameterFlow(network(), problem())
    state = eqx.filter(network(), eqx.is_inexact_array)
    lowered = export.export(jax.jit(lambda y: flow.vector_field(jnp.zeros(()), y, None)), platforms=["cuda"])(state)
    assert lowered.platforms == ("cuda",)


def test_it_prints_itself() -> None:
    assert str(flowed()).startswith(f"Training by gradient flow to t = {END:g} in ")
