"""The bound on what the hyperbolic flow neglects against what it does neglect."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda

from ntkflow.flows import ClassFlow, ClassState, hand_over, solve
from ntkflow.flows.hand_over import _bounds  # pyright: ignore[reportPrivateUsage]
from ntkflow.kernels import BlockKernel

CLASSES, M, FEATURES, Z, POINTS = 3, 4, 6, 12.0, 60
KERNEL = BlockKernel(2.0, 1.0, 0.2, classes=CLASSES, per_class=M)


def problem(seed: int, *, scatter: float, residual: float) -> tuple[BlockKernel, ClassState]:
    """A random kernel and state with H₂ of one size and R₁ of another."""
    generator = np.random.default_rng(seed)
    single, between, across = generator.uniform([0.3, 0.2, 0.0], [2.0, 2.0, 0.5])
    kernel = BlockKernel(single + between + across, between + across, across, classes=CLASSES, per_class=M)
    means = generator.standard_normal((FEATURES, CLASSES))
    weight = generator.standard_normal((CLASSES, FEATURES)) / np.sqrt(FEATURES)
    bias = 0.1 * generator.standard_normal(CLASSES)
    wanted = np.eye(CLASSES) + residual * generator.standard_normal((CLASSES, CLASSES))
    weight += (wanted - bias[:, None] - weight @ means) @ np.linalg.pinv(means)
    within = scatter * generator.standard_normal((FEATURES, CLASSES * (M - 1)))
    return kernel, ClassState(*(jnp.asarray(one) for one in (means, within, weight, bias)))


SIZES = [(scatter, residual) for scatter in (1e-3, 0.01, 0.1, 0.4) for residual in (0.0, 1e-3, 0.1)]
ENDS = (3.0, 30.0, 300.0)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("scatter", "residual"), SIZES)
def test_the_true_error_never_exceeds_the_bound(scatter: float, residual: float, end: float) -> None:
    kernel, state = problem(SIZES.index((scatter, residual)) + 12 * ENDS.index(end), scatter=scatter, residual=residual)
    found = hand_over(state, kernel, loss_scale=Z, until=end, points=POINTS)
    flow = ClassFlow(kernel, loss_scale=Z)
    full = jax.tree.map(np.asarray, solve(flow, state, found.times).states)
    alone = jax.tree.map(np.asarray, solve(found.flow, found.state, found.times).states)
    scatters = [one.within @ np.swapaxes(one.within, -1, -2) for one in (full, alone)]
    errors = {
        "weight_bound": full.weight - alone.weight,
        "within_bound": full.within - alone.within,
        "scatter_bound": scatters[0] - scatters[1],
        "class_means_bound": full.class_means - full.class_means[0],
        "class_residual_bound": full.weight @ full.class_means + full.bias[..., None] - np.eye(CLASSES),
    }
    for name, error in errors.items():
        # What the integration itself adds, at rtol 1e-10, to states of the order of 1.
        assert (np.linalg.norm(error, axis=(-2, -1)) <= np.asarray(getattr(found, name)) + 1e-8).all(), name


def test_it_says_something() -> None:
    """Within a factor of 40 on W while the bound is small; random problems give about 5 (docs/theory.md)."""
    ratios = []
    for seed in range(6):
        kernel, state = problem(seed, scatter=0.01, residual=0.0)
        found = hand_over(state, kernel, loss_scale=Z, until=3.0, points=POINTS)
        full = solve(ClassFlow(kernel, loss_scale=Z), state, found.times).state_at(-1)
        alone = solve(found.flow, found.state, found.times).state_at(-1)
        error = float(jnp.linalg.norm(full.weight - alone.weight))
        assert error >= 1e-6  # far above the integration's own error
        ratios.append(float(found.weight_bound[-1]) / error)
    assert min(ratios) >= 1
    assert np.median(ratios) <= 40


def test_nothing_is_neglected_where_the_two_flows_are_one() -> None:
    """Means and scatter that meet neither in feature space nor at the outputs, R₁ = 0: only the grid's own pessimism is
    left, and it goes with the intervals.
    """
    kernel, _ = problem(1, scatter=0.0, residual=0.0)
    generator = np.random.default_rng(1)
    basis = np.linalg.qr(generator.standard_normal((FEATURES, FEATURES)))[0]
    means, within = basis[:, :3] @ generator.standard_normal((3, 3)), basis[:, 3:] @ generator.standard_normal((3, 9))
    weight = np.vstack([generator.standard_normal((2, 3)) @ basis[:, :3].T, basis[:, 3]])
    state = ClassState(*(jnp.asarray(one) for one in (means, 0.05 * within, weight, np.zeros(3))))
    targets = state.weight @ state.class_means
    coarse, fine = (
        hand_over(state, kernel, loss_scale=Z, until=3.0, points=points, targets=targets).weight_bound[-1]
        for points in (POINTS, 4 * POINTS)
    )
    assert float(fine) <= 0.35 * float(coarse)


def test_when_it_may_take_over() -> None:
    kernel, early = problem(2, scatter=0.05, residual=0.0)
    late = eqx.tree_at(lambda s: s.within, early, 1e-2 * early.within)
    found = {
        name: hand_over(state, kernel, loss_scale=Z, until=30.0, points=POINTS)
        for name, state in (("early", early), ("late", late))
    }
    assert found["late"].holds(0.01)
    assert not found["early"].holds(0.01)
    until = found["early"].trusted_until(0.01)
    times = np.asarray(found["early"].times)
    assert until in times
    assert until < 30.0
    relative = np.maximum(
        np.asarray(found["early"].weight_bound / found["early"].weight_norm),
        np.asarray(found["early"].scatter_bound / found["early"].scatter_norm),
    )
    assert relative[times <= until].max() <= 0.01 < relative[times > until].min()
    assert found["early"].trusted_until(0.1) >= until
    with pytest.raises(ValueError, match="the tolerance has to be positive, not 0"):
        found["early"].trusted_until(0.0)


def test_bounds_grow_with_what_is_neglected() -> None:
    kernel, state = problem(3, scatter=0.01, residual=0.0)
    wrong = eqx.tree_at(lambda s: s.bias, state, state.bias + 0.1)
    right = hand_over(state, kernel, loss_scale=Z, until=3.0, points=POINTS)
    off = hand_over(wrong, kernel, loss_scale=Z, until=3.0, points=POINTS)
    assert float(off.class_residual_bound[0]) == pytest.approx(0.1 * CLASSES, rel=1e-9)
    assert float(off.weight_bound[-1]) > 5 * float(right.weight_bound[-1])
    assert bool(jnp.all(jnp.diff(right.weight_bound) >= 0))
    # Another clock, the same flow.
    slow = hand_over(state, kernel, loss_scale=10 * Z, until=30.0, points=POINTS)
    np.testing.assert_allclose(slow.weight_bound, right.weight_bound, rtol=1e-9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"until": 0.0}, "the last time has to be positive and finite, not 0.0"),
        ({"until": float("inf")}, "the last time has to be positive and finite, not inf"),
        ({"points": 0}, "the grid needs at least one interval, not 0"),
        ({"kernel": BlockKernel(1.0, 1.0, 0.2, classes=CLASSES, per_class=M)}, "positive eigenvalues"),
        ({"targets": jnp.eye(2)}, "targets of 2 classes"),
    ],
)
def test_bad_input(changed: dict, message: str) -> None:
    kernel, state = problem(0, scatter=0.1, residual=0.0)
    arguments = {"kernel": kernel, "loss_scale": Z, "until": 1.0, **changed}
    with pytest.raises(ValueError, match=message):
        hand_over(state, arguments.pop("kernel"), **arguments)


def test_it_lowers_for_cuda() -> None:
    kernel, state = problem(0, scatter=0.1, residual=0.0)
    found = hand_over(state, kernel, loss_scale=Z, until=1.0, points=POINTS)
    arguments = (found.flow, found.state, state, jnp.eye(CLASSES), jnp.asarray(1.0))
    assert "stablehlo" in lower_for_cuda(lambda *arguments: _bounds(*arguments, 5).weight_bound, *arguments)
