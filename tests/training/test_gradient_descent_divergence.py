"""Steps that are too large: refused with the step at which it happened and the step the kernel allows."""

from __future__ import annotations

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks.plain_mlp import arrays, jacobians
from training.backpropagation import residual, step
from training.tiny import Z, dataset, network, problem

from ntkflow.errors import DivergenceError
from ntkflow.kernels import stable_step_limit
from ntkflow.networks import MLP
from ntkflow.training import History, Problem, train_by_gradient_descent


@pytest.fixture(scope="module")
def limit() -> float:
    """2Z/λ_max from the whole Jacobian."""
    jacobian = jacobians(network(), np.asarray(dataset().inputs))[1]
    flat = jacobian.reshape(-1, jacobian.shape[-1])
    return 2 * Z / np.linalg.eigvalsh(flat @ flat.T)[-1]


def train(step_size: float, steps: int) -> History:
    return train_by_gradient_descent(network(), problem(), step_size=step_size, steps=steps, snapshots=[0], records=2)


def test_the_limit_is_that_of_the_dense_kernel(limit: float) -> None:
    assert stable_step_limit(network(), problem().inputs, Z) == pytest.approx(limit, rel=1e-6)


def test_just_below_the_limit_the_loss_falls(limit: float) -> None:
    """It may wobble, for the kernel moves; it does not grow."""
    norms = np.linalg.norm(train(0.9 * limit, 400).norms, axis=1)
    assert norms.max() <= norms[0] * 1.01
    assert norms[-1] < 0.5 * norms[0]


def test_well_above_the_limit_the_loss_grows(limit: float) -> None:
    norms = np.linalg.norm(train(4 * limit, 3).norms, axis=1)
    assert norms.max() > 2 * norms[0]


@pytest.fixture(scope="module")
def diverged(limit: float) -> tuple[float, DivergenceError]:
    size = 100 * limit
    with pytest.raises(DivergenceError) as caught:
        train(size, 2000)
    return size, caught.value


def test_the_message(diverged: tuple[float, DivergenceError], limit: float) -> None:
    size, error = diverged
    found = re.fullmatch(
        r"training\.step_size: the loss overflowed at step (\d+) of gradient descent with step size (\S+)\n"
        r"  The kernel of the initial network allows steps up to 2Z/lambda_max = (\S+) \(Z = 12\); (\S+) is above it\. "
        r"Try (\S+)\.",
        str(error),
    )
    assert found, str(error)
    assert float(found[2]) == float(found[4]) == pytest.approx(size, rel=1e-5)
    assert float(found[3]) == pytest.approx(limit, rel=5e-3)
    assert float(found[5]) == pytest.approx(limit / 4, rel=5e-2)


def test_the_step_named_is_the_first_whose_loss_is_not_finite(diverged: tuple[float, DivergenceError]) -> None:
    size, error = diverged
    named = int(re.findall(r"at step (\d+)", str(error))[0])
    inputs, targets = np.asarray(dataset().inputs), np.asarray(dataset().target_matrix)
    plain, losses = arrays(network()), []
    with np.errstate(all="ignore"):
        for _ in range(named + 1):
            losses.append((residual(plain, inputs, targets, "tanh") ** 2).sum())
            plain = step(plain, inputs, targets, "tanh", Z, size)
    first = next(k for k, loss in enumerate(losses) if not np.isfinite(loss))
    # Sums in another order may overflow one step apart.
    assert abs(named - first) <= 1


def test_the_step_it_proposes_trains(diverged: tuple[float, DivergenceError]) -> None:
    proposed = float(re.findall(r"Try (\S+)\.", str(diverged[1]))[0])
    norms = np.linalg.norm(train(proposed, 400).norms, axis=1)
    assert norms[-1] < 0.5 * norms[0]


def test_below_the_limit_of_the_start_it_says_that_the_kernel_grew() -> None:
    """To reach targets this far off the weights of a linear network must grow, and the kernel grows with them."""
    linear = MLP(jax.random.key(1), inputs=64, outputs=3, width=1, hidden_layers=0, features=4, activation="linear")
    far = Problem(problem().inputs, 1e4 * problem().targets, Z)
    limit = stable_step_limit(linear, far.inputs, Z)
    with pytest.raises(DivergenceError, match="is below it, but the kernel has grown since"):
        train_by_gradient_descent(linear, far, step_size=0.5 * limit, steps=1000, snapshots=[0], records=2)


def test_an_untrained_network_whose_loss_is_not_finite() -> None:
    hot = eqx.tree_at(lambda net: net.readout.weight, network(), jnp.full_like(network().readout.weight, 1e200))
    with pytest.raises(DivergenceError) as caught:
        train_by_gradient_descent(hot, problem(), step_size=0.1, steps=10, snapshots=[0])
    assert str(caught.value) == (
        "the loss of the untrained network is not finite\n  Look at the inputs' scale and the initialisation."
    )


def test_an_overflow_in_the_very_last_step_is_found(diverged: tuple[float, DivergenceError]) -> None:
    size, error = diverged
    named = int(re.findall(r"at step (\d+)", str(error))[0])
    with pytest.raises(DivergenceError, match=f"at step {named} "):
        train(size, named)
