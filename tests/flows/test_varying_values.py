"""Block values that change in time: against SciPy piece by piece, and the law that E follows."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from flows.paper_equations import (
    Arrays,
    flattened,
    integrate_with_scipy,
    invariant_sides,
    random_problem,
    right_hand_side,
)
from kernels.dense import relative_difference
from scipy.integrate import solve_ivp

from ntkflow.flows import ClassFlow, ClassState, SampleFlow, Trajectory, compress, solve
from ntkflow.flows.invariant_law import AccountedFlow, AccountedState
from ntkflow.flows.varying_values import Interpolation, VaryingValuesFlow
from ntkflow.kernels import BlockKernel

PROBLEM = random_problem(0, classes=3, per_class=4, features=5, outputs=3)
KNOTS = np.asarray([0.22, 0.45, 0.77]) * PROBLEM.end
SNAPSHOTS = jnp.asarray(KNOTS)
VALUES = np.asarray([[3.0, 1.9, 0.4], [4.1, 2.2, 0.1], [3.3, 2.5, 0.9]])
EDGES = np.asarray([0.0, *KNOTS, PROBLEM.end])
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
HALF = np.diff(EDGES) / 2
QUADRATURE = ((EDGES[1:] + EDGES[:-1]) / 2)[:, None] + HALF[:, None] * NODES
# One grid for everything, so that everything is one compilation.
TIMES = np.sort(np.concatenate([EDGES, QUADRATURE.ravel()]))
CHECKED = [int(np.searchsorted(TIMES, t)) for t in (QUADRATURE[0, 4], KNOTS[1], QUADRATURE[2, 2], PROBLEM.end)]


def kernels(classes: int = 3, per_class: int = 4) -> list[BlockKernel]:
    return [BlockKernel(*row, classes=classes, per_class=per_class) for row in VALUES]


def varying(interpolation: Interpolation, **options: object) -> VaryingValuesFlow:
    targets = jnp.asarray(PROBLEM.targets)
    return VaryingValuesFlow(
        SNAPSHOTS,
        kernels(),
        loss_scale=PROBLEM.loss_scale,
        targets=targets,
        interpolation=interpolation,
        **options,
    )


def accounted(interpolation: Interpolation) -> Trajectory:
    """With a factor of S of the fewest columns: what is carried across the snapshots is S, not the samples."""
    frame, inside = compress(PROBLEM.state, PROBLEM.classes)
    flow = AccountedFlow(varying(interpolation, frame=frame))
    return solve(flow, AccountedState.opening(inside), jnp.asarray(TIMES))


@pytest.fixture(scope="module")
def linear() -> Trajectory:
    return accounted("linear")


@pytest.fixture(scope="module")
def constant() -> Trajectory:
    return accounted("constant")


def expected_values(interpolation: str, t: float) -> tuple[float, float, float]:
    knots = KNOTS
    if interpolation == "constant":
        return tuple(VALUES[max(np.searchsorted(knots, t, side="right") - 1, 0)])
    return tuple(np.interp(t, knots, column) for column in VALUES.T)


def with_scipy(interpolation: str) -> list[Arrays]:
    """(19) by DOP853, restarted at every snapshot, at the checked times."""
    shapes = [array.shape for array in PROBLEM.initial]
    cuts = np.cumsum([array.size for array in PROBLEM.initial])[:-1]

    def unpack(flat: np.ndarray) -> Arrays:
        return tuple(part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True))

    state, begin, found = np.concatenate([a.ravel() for a in PROBLEM.initial]), 0.0, []
    for end in EDGES[1:]:
        middle = (begin + end) / 2

        def field(t: float, flat: np.ndarray, middle: float = middle) -> np.ndarray:
            kappa = expected_values(interpolation, middle if interpolation == "constant" else t)
            problem = dataclasses.replace(PROBLEM, kappa=kappa)
            return np.concatenate([array.ravel() for array in right_hand_side(problem, unpack(flat))])

        here = [TIMES[i] for i in CHECKED if begin < TIMES[i] <= end]
        solution = solve_ivp(field, (begin, end), state, "DOP853", dense_output=True, rtol=1e-11, atol=1e-13)
        assert solution.success
        found += [solution.y[:, -1] if t == end else solution.sol(t) for t in here]
        state, begin = solution.y[:, -1], end
    return [unpack(flat) for flat in found]


@pytest.mark.parametrize("interpolation", ["linear", "constant"])
def test_against_scipy(interpolation: Interpolation, request: pytest.FixtureRequest) -> None:
    trajectory = request.getfixturevalue(interpolation)
    flow = trajectory.flow.flow
    for index, expected in zip(CHECKED, with_scipy(interpolation), strict=True):
        found = flow.sample_state(trajectory.state_at(index).state)
        assert relative_difference(flattened(found), flattened(expected)) <= 1e-8
    last = trajectory.state_at(-1)
    norms = SampleFlow(kernels()[0], loss_scale=1.0, targets=jnp.asarray(PROBLEM.targets)).residual_norms(found)
    assert relative_difference(trajectory.flow.residual_norms(last), norms) <= 1e-10
    assert float(trajectory.flow.loss(last)) == pytest.approx(float((norms**2).sum() / (2 * PROBLEM.loss_scale)))


def test_the_values_at_every_time() -> None:
    for interpolation in ("linear", "constant"):
        flow = varying(interpolation)
        for t in [*np.linspace(0, 1.2, 13) * PROBLEM.end, *KNOTS]:
            kernel = flow.kernel_at(t)
            found = [kernel.diagonal, kernel.same_class, kernel.different_class]
            np.testing.assert_allclose(found, expected_values(interpolation, t), rtol=1e-13)


@pytest.mark.parametrize("where", [-0.1, 0.1, 0.3, 0.6, 0.9])
def test_the_rate_of_the_values_and_of_the_invariant(where: float) -> None:
    """At a state that stands still E moves by κ alone: its rate is the difference quotient's limit."""
    flow, t = varying("linear"), where * PROBLEM.end
    state = ClassState.from_sample(PROBLEM.state, 3)
    h = 1e-5 * PROBLEM.end
    rates = [flow.kernel_rate(t).diagonal, flow.kernel_rate(t).same_class, flow.kernel_rate(t).different_class]
    quotient = [
        (b - a) / (2 * h)
        for a, b in zip(expected_values("linear", t - h), expected_values("linear", t + h), strict=True)
    ]
    np.testing.assert_allclose(rates, quotient, rtol=1e-8, atol=1e-8)
    sides = [
        invariant_sides(dataclasses.replace(PROBLEM, kappa=expected_values("linear", u)), PROBLEM.initial)
        for u in (t - h, t + h)
    ]
    moved = ((sides[1][0] - sides[1][1]) - (sides[0][0] - sides[0][1])) / (2 * h)
    found = flow.invariant_rate(jnp.asarray(t), state)
    assert np.linalg.norm(found - moved) <= 1e-8 * max(np.linalg.norm(moved), 1)
    assert (np.linalg.norm(found) > 0) == (0.22 < where < 0.77)


def test_the_law_of_the_invariant(linear: Trajectory) -> None:
    """E(t) − E(0) = ∫Ė dt, with the integral taken along the solution; and E does move."""
    flow = linear.flow
    start = flow.imbalance(linear.times[0], linear.state_at(0))
    scale = float(jnp.linalg.norm(start))
    for index in [*CHECKED, -1]:
        found = flow.imbalance(linear.times[index], linear.state_at(index))
        assert float(jnp.linalg.norm(found - start)) <= 1e-10 * scale
    assert float(jnp.linalg.norm(linear.states.account[-1])) > 1e-2 * scale


def test_the_law_by_quadrature(linear: Trajectory) -> None:
    """The same integral without the account: Gauss–Legendre on every piece."""
    law, states = linear.flow.flow, linear.states.state
    rates = jax.jit(jax.vmap(law.invariant_rate))(linear.times, states)
    inside = np.isin(TIMES, QUADRATURE)
    integral = jnp.einsum("t,tij->ij", jnp.asarray((HALF[:, None] * WEIGHTS).ravel()), rates[inside])
    first, last = (law.invariant(linear.times[i], linear.state_at(i).state) for i in (0, -1))
    assert float(jnp.linalg.norm(last - first - integral)) <= 1e-8 * float(jnp.linalg.norm(first))


def test_where_the_values_jump_the_invariant_jumps(constant: Trajectory) -> None:
    law = constant.flow.flow
    first = law.invariant(constant.times[0], constant.state_at(0).state)
    total, size = jnp.zeros_like(first), 0.0
    for i in range(TIMES.size):
        state = constant.state_at(i).state
        if TIMES[i] in KNOTS:
            jump = law.invariant_jump(int(np.searchsorted(KNOTS, TIMES[i])), state)
            total, size = total + jump, size + float(jnp.linalg.norm(jump))
        if TIMES[i] in KNOTS or i in CHECKED:
            found = law.invariant(constant.times[i], state)
            assert float(jnp.linalg.norm(found - first - total)) <= 1e-9 * float(jnp.linalg.norm(first))
    assert size > 0.1 * float(jnp.linalg.norm(first))
    assert not np.asarray(varying("linear").invariant_jump(1, ClassState.from_sample(PROBLEM.state, 3))).any()
    assert not np.asarray(constant.states.account).any()


def test_a_growing_kernel_lifts_the_invariant(linear: Trajectory) -> None:
    """K̇ ⪰ 0 makes Ė = HK⁻¹K̇K⁻¹Hᵀ/m ⪰ 0: checked with the dense K."""
    flow = VaryingValuesFlow(
        jnp.asarray([0.0, 1.0]),
        [BlockKernel(3.0, 2.0, 0.5, classes=3, per_class=4), BlockKernel(5.0, 3.2, 0.9, classes=3, per_class=4)],
        loss_scale=1.0,
    )
    t, h = jnp.asarray(0.5), np.asarray(PROBLEM.state.features)
    inverse = np.linalg.inv(np.asarray(flow.kernel_at(t).as_matrix()))
    dense = h @ inverse @ np.asarray(flow.kernel_rate(t).as_matrix()) @ inverse @ h.T / 4
    found = flow.invariant_rate(t, ClassState.from_sample(PROBLEM.state, 3))
    assert relative_difference(found, dense) <= 1e-12
    assert float(jnp.linalg.eigvalsh(found)[0]) >= -1e-13


def test_one_snapshot_is_the_class_flow() -> None:
    state = ClassState.from_sample(PROBLEM.state, 3)
    alone = VaryingValuesFlow(jnp.asarray([0.3]), kernels()[:1], loss_scale=2.0, interpolation="linear")
    expected = ClassFlow(kernels()[0], loss_scale=2.0).vector_field(jnp.asarray(0.0), state, None)
    for t in (0.0, 0.3, 1.0):
        found = alone.vector_field(jnp.asarray(t), state, None)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert np.array_equal(a, b)
        assert not np.asarray(alone.invariant_rate(jnp.asarray(t), state)).any()


def test_steps_do_not_go_across_a_jump() -> None:
    """For an instant κ is two million times larger. Adaptive steps of the size of before and after would not see it."""
    slow, fast, end = (0.011, 0.01, 0.0), (2e4, 1.9e4, 0.0), PROBLEM.end
    instant = 1e-5 * end
    initial = tuple(0.05 * array for array in PROBLEM.initial)
    flow = VaryingValuesFlow(
        jnp.asarray([0.0, end / 2, end / 2 + instant]),
        [BlockKernel(*values, classes=3, per_class=4) for values in (slow, fast, slow)],
        loss_scale=PROBLEM.loss_scale,
        targets=jnp.asarray(PROBLEM.targets),
        interpolation="constant",
        frame=compress(dataclasses.replace(PROBLEM, initial=initial).state, 3)[0],
    )
    inside = compress(dataclasses.replace(PROBLEM, initial=initial).state, 3)[1]
    found = solve(AccountedFlow(flow), AccountedState.opening(inside), jnp.asarray(TIMES)).state_at(-1).state
    arrays = initial
    for values, length in ((slow, end / 2), (fast, instant), (slow, end / 2 - instant)):
        arrays = integrate_with_scipy(dataclasses.replace(PROBLEM, kappa=values, initial=arrays, end=length))[-1]
    assert relative_difference(flattened(flow.sample_state(found)), flattened(arrays)) <= 1e-8
    without = integrate_with_scipy(dataclasses.replace(PROBLEM, kappa=slow, initial=initial))[-1]
    assert relative_difference(flattened(without), flattened(arrays)) > 1e-3


@pytest.mark.parametrize(
    ("times", "count", "message"),
    [
        ([0.0, 1.0], 3, "one kernel is needed for each of the 2 times, not 3"),
        ([0.0, 0.0, 1.0], 3, "must increase"),
        ([0.0, 1.0, float("nan")], 3, "must increase and be finite"),
        ([], 0, "one kernel is needed"),
    ],
)
def test_bad_snapshots_are_refused(times: list[float], count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VaryingValuesFlow(jnp.asarray(times, dtype=float), kernels()[:count], loss_scale=1.0)


def test_kernels_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="same classes and samples"):
        VaryingValuesFlow(jnp.asarray([0.0, 1.0]), [*kernels()[:1], *kernels(3, 5)[:1]], loss_scale=1.0)


@pytest.mark.parametrize("interpolation", ["linear", "constant"])
def test_it_lowers_for_cuda(interpolation: Interpolation) -> None:
    flow = AccountedFlow(varying(interpolation))
    state = AccountedState.opening(ClassState.from_sample(PROBLEM.state, 3))
    text = lower_for_cuda(lambda flow, state: flow.vector_field(jnp.asarray(0.3), state, None), flow, state)
    assert "stablehlo" in text
    assert "callback" not in text
