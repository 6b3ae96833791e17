"""Many descents at once against each by itself: steps, losses, parameters, and why each ended."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from training.tiny import network, problem

import ntkflow.training.descent_ensemble as module
from ntkflow.networks import MLP
from ntkflow.training import (
    DIVERGED,
    GOES_ON,
    STOPPED,
    DescentEnsemble,
    StalledLoss,
    descend_together,
    look,
    member,
)

RULE = StalledLoss(least_decrease=1e-4, patience=5)
STEP, STEPS = 0.2, 60


def scaled(factor: float) -> MLP:
    """The tiny network with larger or smaller weights: what decides how its training ends."""
    return jax.tree.map(lambda leaf: factor * leaf if eqx.is_inexact_array(leaf) else leaf, network())


def outputs(theta: list[jax.Array]) -> jax.Array:
    a = problem().inputs.reshape(len(problem().inputs), -1).T
    for index in range(0, len(theta), 2):
        a = theta[index] @ a + theta[index + 1][:, None]
        a = jnp.tanh(a) if index < len(theta) - 2 else a
    return a


@jax.jit
@jax.value_and_grad
def loss(theta: list[jax.Array]) -> jax.Array:
    targets = jnp.repeat(problem().targets, 4, axis=1)
    return jnp.sum((outputs(theta) - targets) ** 2) / 24


def flat(network: MLP) -> list[jax.Array]:
    return [leaf for layer in (*network.layers, network.readout) for leaf in (layer.weight, layer.bias)]


def by_hand(start: MLP, step_size: float) -> tuple[list[jax.Array], int, float, int]:
    """A plain loop: parameters, steps, smallest loss, why it ended."""
    theta, began, since, least = flat(start), np.inf, 0, np.inf
    for step in range(STEPS):
        value, gradient = loss(theta)
        if not np.isfinite(value):
            return theta, step, least, DIVERGED
        least = min(least, float(value))
        began, since = (float(value), 0) if value <= began - 1e-4 else (began, since + 1)
        if since >= 5:
            return theta, step, least, STOPPED
        theta = [one - step_size * slope for one, slope in zip(theta, gradient, strict=True)]
    value = float(loss(theta)[0])
    return (theta, STEPS, min(least, value), GOES_ON) if np.isfinite(value) else (theta, STEPS, least, DIVERGED)


FACTORS = (1e-3, 1.0, 1.5, 1e160)


@pytest.mark.parametrize("chunk", [256, 7])
def test_every_member_is_a_descent_by_itself(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small chunk those that go on are trained in smaller batches from some step on."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    starts = [scaled(factor) for factor in FACTORS]
    together = DescentEnsemble.of(starts, RULE)
    for steps in (13, STEPS - 13):
        together = descend_together(together, problem(), STEP, RULE, steps)
    together = look(together, problem())
    ends = []
    for index, start in enumerate(starts):
        theta, steps, least, end = by_hand(start, STEP)
        ends.append(end)
        assert int(together.end[index]) == end
        assert int(together.step[index]) == steps
        if np.isfinite(least):
            assert float(together.least_loss[index]) == pytest.approx(least, rel=1e-9)
            for one, other in zip(flat(member(together, index).networks), theta, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12)
    assert set(ends) == {GOES_ON, STOPPED, DIVERGED}


def test_a_loss_after_the_last_step_counts() -> None:
    ensemble = descend_together(DescentEnsemble.of([scaled(1.0)], RULE), problem(), STEP, RULE, 3)
    last = float(loss(flat(member(ensemble, 0).networks))[0])
    assert float(ensemble.least_loss[0]) > last
    assert float(look(ensemble, problem()).least_loss[0]) == pytest.approx(last, rel=1e-12)


def test_the_loop_lowers_to_cuda() -> None:
    ensemble = DescentEnsemble.of([scaled(1.0), scaled(0.5)], RULE)
    text = lower_for_cuda(
        lambda *a: module._advance(a[0], a[1], a[2], RULE, a[3]), ensemble, problem(), jnp.asarray(STEP), jnp.asarray(9)
    )
    assert "stablehlo.while" in text
    assert "callback" not in text
