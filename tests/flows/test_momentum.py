"""Gradient descent with heavy-ball momentum in closed form, against the iteration itself."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from hypothesis import given
from hypothesis import strategies as st
from kernels.dense import block_matrix, relative_difference

from ntkflow.flows import (
    DenseModes,
    KernelRegressionFlow,
    RegressionOutputs,
    ResidualFlow,
    descent_factors,
    descent_step_limit,
    descent_sums,
    descent_time,
    flow_factors,
    flow_sums,
)
from ntkflow.kernels import BlockKernel

EPS = float(np.finfo(float).eps)


def iterated(x: float, momentum: float, steps: int) -> tuple[float, float]:
    """p_k and q_k from the iteration v ← βv − x·distance, to a hundred digits."""
    with decimal.localcontext(prec=100):
        rate, beta = Decimal(x), Decimal(momentum)
        position, velocity = Decimal(1), Decimal(0)
        displaced, force = Decimal(0), Decimal(0)
        for _ in range(steps):
            velocity = beta * velocity - rate * position
            position += velocity
            force = beta * force + 1 - rate * displaced
            displaced += force
        return float(position), float(displaced)


def double_roots(momentum: float) -> tuple[float, float]:
    return (1 - momentum**0.5) ** 2, (1 + momentum**0.5) ** 2


@pytest.mark.parametrize("momentum", [0.0, 1e-9, 0.25, 0.5, 0.9, 0.99])
def test_the_closed_form_is_the_iteration(momentum: float) -> None:
    """Real roots, complex roots, close to both double roots and on them, at 0, unstable, and negative."""
    first, last = double_roots(momentum)
    near = [root * (1 + side) for root in (first, last) for side in (-1e-6, -1e-13, 0, 1e-13, 1e-6)]
    rates = [0.0, 1e-300, 1e-17, 1e-9, first / 4, first / 2, 1 - momentum, 1.0, *near, 1 + momentum, last * 1.1, -0.1]
    counts = [0, 1, 2, 3, 10, 61]
    x = jnp.asarray(rates)
    both = jax.jit(jax.vmap(lambda k: (descent_factors(x, k, momentum), descent_sums(x, k, momentum))))
    factors, sums = both(jnp.asarray(counts, float))
    for row, steps in enumerate(counts):
        for column, rate in enumerate(rates):
            factor, displaced = iterated(rate, momentum, steps)
            # What rounding of x and of β alone does, and of the result.
            beside = [iterated(math.nextafter(rate, 9), momentum, steps)[0]]
            beside += [iterated(rate, math.nextafter(momentum, 1), steps)[0]] * (momentum > 0)
            moved = max(abs(factor - other) for other in beside)
            error = abs(float(factors[row, column]) - factor)
            assert error <= 128 * (moved + EPS * abs(factor)), (rate, steps)
            allowed = 64 * EPS * ((steps + 1) * max(abs(displaced), 1.0) + 1 / (1 - momentum) ** 2)
            assert abs(float(sums[row, column]) - displaced) <= allowed, (rate, steps)


@given(
    momentum=st.sampled_from([0.0, 0.25, 0.81, 0.95]),
    share=st.floats(1e-14, 1.05),
    steps=st.integers(0, 120),
)
def test_for_any_rate_and_count(momentum: float, share: float, steps: int) -> None:
    x = share * 2 * (1 + momentum)
    factor, displaced = iterated(x, momentum, steps)
    own = descent_factors(jnp.asarray(x), steps, momentum)
    assert abs(float(own) - factor) <= 1e-11 * max(abs(factor), momentum ** (steps / 2) * (steps + 1))
    assert abs(float(descent_sums(jnp.asarray(x), steps, momentum)) - displaced) <= 1e-11 * max(1, abs(displaced))


def test_critical_damping_exactly() -> None:
    """β = 1/4: the double roots are at x = 1/4 and 9/4, numbers without rounding; p_k = rᵏ(1 + k(1 − r))."""
    for x, root in ((0.25, 0.5), (2.25, -0.5)):
        for steps in (0, 1, 2, 5, 40):
            expected = root**steps * (1 + steps * (1 - root))
            assert float(descent_factors(jnp.asarray(x), steps, 0.25)) == pytest.approx(expected, rel=1e-15)


def test_a_million_steps_of_a_slow_mode() -> None:
    """The slow root is 1 − x/(1 − β) + O(x²): rounded before the power, a million steps would lose ten digits."""
    assert float(descent_factors(jnp.asarray(1e-7), 10**6)) == pytest.approx(np.exp(10**6 * np.log1p(-1e-7)), rel=1e-14)
    # x of the root 1 − 1e-6 for β = 0.9: from u² − (1 − β + x)u + x = 0.
    u, beta = 1e-6, 0.9
    x = (u * (1 - beta) - u**2) / (1 - u)
    slow = 1 - u
    amplitude = slow * (1 - beta / slow) / (slow - beta / slow)
    expected = amplitude * np.exp(10**6 * np.log1p(-u))
    assert float(descent_factors(jnp.asarray(x), 10**6, beta)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_it_diverges_beyond_its_limit_and_not_below(momentum: float) -> None:
    top, scale = 7.0, 3.0
    limit = descent_step_limit(top, scale, momentum)
    assert limit == pytest.approx(2 * (1 + momentum) * scale / top, rel=1e-15)
    for share, grows in ((0.999, False), (1.001, True)):
        position, velocity = 1.0, 0.0
        for _ in range(60_000):
            velocity = momentum * velocity - share * limit * top / scale * position
            position += velocity
            if abs(position) > 1e20:
                break
        assert (abs(position) > 1e20) == grows
        assert (abs(position) < 1e-2) != grows
    assert descent_step_limit(0.0, scale, momentum) == float("inf")


def test_the_clock_of_momentum() -> None:
    """After few steps at small x descent is the flow at η q_k(0), up to x²; at ηk/(1 − β) only up to x."""
    beta, lag = 0.9, 0.9 / 0.1**2
    assert float(descent_time(0.5, 10_000, beta)) == pytest.approx(0.5 * (10_000 / 0.1 - lag), rel=1e-13)
    assert float(descent_time(0.5, 3, beta)) == pytest.approx(0.5 * (1 + 1.9 + 2.71), rel=1e-14)
    assert float(descent_time(0.5, 7)) == pytest.approx(3.5, rel=1e-15)
    own, usual = [], []
    for x in (1e-5, 5e-6):
        factor = float(descent_factors(jnp.asarray(x), 40, beta))
        own.append(abs(factor - np.exp(-x * float(descent_time(1.0, 40, beta)))))
        usual.append(abs(factor - np.exp(-x * 40 / (1 - beta))))
    assert usual[0] / usual[1] == pytest.approx(2, abs=0.05)
    assert own[0] / own[1] == pytest.approx(4, abs=0.1)
    assert own[0] < usual[0] / 30


def test_sums_of_the_flow_where_the_rate_is_zero_or_tiny() -> None:
    rates = np.array([0.0, 1e-300, 1e-12, 1.0, 700.0, -2.0])
    sums = flow_sums(jnp.asarray(rates), 2.5)
    assert sums[0] == sums[1] == 2.5
    expected = [2.5, 2.5, 2.5 - 1e-12 * 2.5**2 / 2, 1 - np.exp(-2.5), 1 / 700, (np.exp(5.0) - 1) / 2]
    assert relative_difference(sums, expected) <= 1e-15
    assert np.array_equal(flow_sums(jnp.asarray(rates), 0.0), np.zeros(6))
    assert relative_difference(flow_factors(jnp.asarray(rates), 0.5), np.exp(-0.5 * rates)) <= 1e-15


@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_the_residual_flow_with_momentum(momentum: float) -> None:
    """Slow, oscillating and, above the limit, growing parts at once."""
    dense = block_matrix(1.9, 1.2, 0.4, 3, 4)
    flow = ResidualFlow(BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=4), loss_scale=5.0)
    start = np.random.default_rng(0).standard_normal((3, 12))
    limit = flow.step_limit(momentum)
    assert limit == pytest.approx(2 * (1 + momentum) * 5.0 / np.linalg.eigvalsh(dense)[-1], rel=1e-13)
    for share in (0.01, 0.5, 1.02):
        residual, velocity = start, np.zeros_like(start)
        for steps in range(41):
            if steps % 8 == 0:
                own = flow.after_steps(jnp.asarray(start), share * limit, steps, momentum)
                assert relative_difference(own, residual) <= 1e-11
            velocity = momentum * velocity - share * limit / 5.0 * residual @ dense
            residual = residual + velocity


@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_momentum_on_the_parameters_of_a_linear_network(ridge: float) -> None:
    """f(x) = wx, its parameters moved by v ← βv − η∇L: training and test outputs, fewer parameters than samples."""
    generator = np.random.default_rng(3)
    inputs, test = generator.standard_normal((9, 5)), generator.standard_normal((4, 5))
    targets, initial = generator.standard_normal((2, 9)), generator.standard_normal((2, 5))
    z, step, momentum = 9.0, 0.7, 0.8
    flow = KernelRegressionFlow(
        DenseModes.of(jnp.asarray(inputs @ inputs.T), jnp.asarray(test @ inputs.T)),
        targets=jnp.asarray(targets),
        loss_scale=z,
        initial=RegressionOutputs(jnp.asarray(initial @ inputs.T), jnp.asarray(initial @ test.T)),
        ridge=ridge,
    )
    counts = [0, 1, 2, 7, 50]
    outputs = flow.after_steps(step, jnp.asarray(counts, float), momentum)
    weight, velocity = initial, np.zeros_like(initial)
    for steps in range(51):
        if steps in counts:
            row = counts.index(steps)
            assert relative_difference(outputs.train[row], weight @ inputs.T) <= 1e-12
            assert relative_difference(outputs.test[row], weight @ test.T) <= 1e-12
        gradient = ((weight @ inputs.T - targets) @ inputs + ridge * (weight - initial)) / z
        velocity = momentum * velocity - step * gradient
        weight = weight + velocity


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_a_momentum_that_is_none(momentum: float) -> None:
    for refused in (
        lambda: descent_factors(jnp.ones(2), 3, momentum),
        lambda: descent_sums(jnp.ones(2), 3, momentum),
        lambda: descent_step_limit(1.0, 1.0, momentum),
    ):
        with pytest.raises(ValueError, match="momentum must be at least 0 and below 1"):
            refused()


def test_lowering() -> None:
    x, steps = jnp.linspace(0.0, 4.0, 5), jnp.asarray(7.0)
    for function in (descent_factors, descent_sums):
        assert "stablehlo" in lower_for_cuda(lambda x, k, function=function: function(x, k, 0.9), x, steps)
    assert "stablehlo" in lower_for_cuda(flow_sums, x, steps)
