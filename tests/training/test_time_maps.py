"""What docs/theory/training.md says of time, momentum and weight decay: the optimisers as they are, on quadratics."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.training import SGD

CURVATURES = np.array([0.02, 0.3, 1.0])
PULL = np.array([0.5, -1.0, 2.0])
"""Of the loss Σ (μ θ²/2 − p θ)."""


def descend(
    optimizer: SGD, step_size: float | Callable[[int], float], steps: int, start: np.ndarray, pull: np.ndarray = PULL
) -> np.ndarray:
    """Parameters before each step and after the last."""
    transformation = optimizer.transformation()
    sizes = [step_size(k) if callable(step_size) else step_size for k in range(steps)]

    def one(carry: tuple, size: jax.Array) -> tuple[tuple, jax.Array]:
        theta, state = carry
        direction, state = transformation.update(CURVATURES * theta - pull, state, theta)
        return (theta - size * direction, state), theta

    theta = jnp.asarray(start)
    (last, _), path = jax.lax.scan(one, (theta, transformation.init(theta)), jnp.asarray(sizes))
    return np.concatenate([path, last[None]])


START = np.array([1.0, 2.0, -1.5])


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_the_flow_at_a_larger_step(nesterov: bool) -> None:
    """θ(t) of the flow at t = η k/(1 − β), as η → 0: the error falls with η."""
    optimizer, beta, end = SGD(momentum=0.9, nesterov=nesterov), 0.9, 3.0
    assert optimizer.time_factor == pytest.approx(10)
    fixed = PULL / CURVATURES
    flow = fixed + (START - fixed) * np.exp(-CURVATURES * end)
    errors = []
    for step_size in (4e-4, 1e-4):
        found = descend(optimizer, step_size, round(end * (1 - beta) / step_size), START)[-1]
        errors.append(np.abs(found - flow).max())
    assert errors[1] < 0.02
    assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_recurrence_of_a_mode(nesterov: bool) -> None:
    """Heavy ball p₊ = (1 + β − x) p − β p₋; Nesterov p₊ = (1 + β)(1 − x) p − β (1 − x) p₋, with x = ημ."""
    beta, step_size = 0.8, 0.7
    path = descend(SGD(momentum=beta, nesterov=nesterov), step_size, 30, START) - PULL / CURVATURES
    x = step_size * CURVATURES
    for before, now, after in zip(path[:-2], path[1:-1], path[2:], strict=True):
        if nesterov:
            expected = (1 + beta) * (1 - x) * now - beta * (1 - x) * before
        else:
            expected = (1 + beta - x) * now - beta * before
        assert np.allclose(after, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("nesterov", "limit"), [(False, 2 * 1.8), (True, 2 * 1.8 / 2.6)])
def test_the_largest_stable_step(nesterov: bool, limit: float) -> None:
    """x = 2(1 + β), and 2(1 + β)/(1 + 2β) with Nesterov; β = 0.8, the largest curvature is 1."""
    optimizer = SGD(momentum=0.8, nesterov=nesterov)
    fixed = PULL / CURVATURES
    below, above = (np.abs(descend(optimizer, s * limit, 2000, START)[-1] - fixed).max() for s in (0.99, 1.01))
    assert below < 1e-3
    assert above > 1e3


@pytest.mark.parametrize("nesterov", [False, True])
def test_where_a_mode_starts_to_oscillate(nesterov: bool) -> None:
    """x = (1 − √β)², and ((1 − β)/(1 + β))² with Nesterov: below it, the distance keeps its sign."""
    beta = 0.8
    edge = ((1 - beta) / (1 + beta)) ** 2 if nesterov else (1 - np.sqrt(beta)) ** 2
    optimizer = SGD(momentum=beta, nesterov=nesterov)
    slow, fast = (descend(optimizer, s * edge, 400, START, 0 * PULL)[:, 2] for s in (0.98, 1.3))
    assert np.all(slow * START[2] > 0)
    assert np.any(fast * START[2] < 0)


@pytest.mark.parametrize("nesterov", [False, True])
def test_where_weight_decay_ends(nesterov: bool) -> None:
    """Coupled: (μ + λ) θ = p. Decoupled: (μ + (1 − β) λ) θ = p, as if λ were 1/(1 − β) times smaller."""
    decay, beta = 0.05, 0.9
    momentum = {"momentum": beta, "nesterov": nesterov, "weight_decay": decay}
    coupled = descend(SGD(**momentum, decay="coupled"), 0.1, 4000, START)[-1]
    decoupled = descend(SGD(**momentum, decay="decoupled"), 0.1, 4000, START)[-1]
    assert np.allclose(coupled, PULL / (CURVATURES + decay), rtol=1e-9)
    assert np.allclose(decoupled, PULL / (CURVATURES + (1 - beta) * decay), rtol=1e-9)


def test_coupled_decay_is_the_flow_of_the_loss_with_a_ridge() -> None:
    """At time η k/(1 − β): θ̇ = −∇L − λθ; decoupled θ̇ = −∇L − (1 − β) λ θ."""
    decay, beta, end, step_size = 0.2, 0.9, 3.0, 1e-4
    for kind, effective in (("coupled", decay), ("decoupled", (1 - beta) * decay)):
        optimizer = SGD(momentum=beta, weight_decay=decay, decay=kind)
        found = descend(optimizer, step_size, round(end * (1 - beta) / step_size), START)[-1]
        fixed = PULL / (CURVATURES + effective)
        flow = fixed + (START - fixed) * np.exp(-(CURVATURES + effective) * end)
        assert np.abs(found - flow).max() < 0.01
        # The other one's flow is far from it.
        other = (1 - beta) * decay if kind == "coupled" else decay
        wrong = PULL / (CURVATURES + other) * (1 - np.exp(-(CURVATURES + other) * end)) + START * np.exp(
            -(CURVATURES + other) * end
        )
        assert np.abs(found - wrong).max() > 0.05


def test_a_drop_acts_on_the_momentum_at_once() -> None:
    """After the drop the very next move is a tenth of what it would have been."""
    optimizer = SGD(momentum=0.9)
    kept = descend(optimizer, 0.1, 11, START)
    dropped = descend(optimizer, lambda k: 0.1 if k < 10 else 0.01, 11, START)
    assert np.allclose(dropped[-1] - dropped[-2], 0.1 * (kept[-1] - kept[-2]), rtol=1e-12)


def test_time_with_a_schedule_is_the_sum_of_the_steps() -> None:
    steps = [2e-4] * 1000 + [5e-5] * 4000
    found = descend(SGD(), lambda k: steps[k], len(steps), START)[-1]
    fixed = PULL / CURVATURES
    assert np.allclose(found, fixed + (START - fixed) * np.exp(-CURVATURES * sum(steps)), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"nesterov": True}, "nesterov needs momentum"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or a positive number"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SGD(**options)
