"""The stabilised solver: its stability polynomial, its order, its estimate of the spectral radius, and how it behaves
with jumps, backwards in time, in float32, under vmap and under differentiation."""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from numpy.polynomial import chebyshev

from ntkflow.flows import RKC2
from ntkflow.flows.solvers.power_iteration import Growth
from ntkflow.flows.solvers.rkc2 import _DAMPING, _REACH

RATES = jnp.geomspace(1e-1, 1e4, 60)


def integrate(
    field, y0, end, *, tolerance=1e-5, solver=None, args=None, start=0.0, dt0=None, controller=None, **options
):
    if controller is None:
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        RKC2() if solver is None else solver,
        start,
        end,
        dt0,
        y0,
        args=args,
        stepsize_controller=controller,
        max_steps=20_000,
        **options,
    )


def forced(t, y, args):
    """Every rate pulls towards a moving target; the solution is known."""
    return -RATES * (y - jnp.cos(t))


def forced_solution(t: float) -> np.ndarray:
    """y' = −λ(y − cos t), y(0) = 2, solved by hand."""
    rate = np.asarray(RATES)
    steady = (rate**2 * np.cos(t) + rate * np.sin(t)) / (1 + rate**2)
    return steady + (2 - rate**2 / (1 + rate**2)) * np.exp(-rate * t)


@pytest.mark.parametrize("stages", [2, 3, 7, 40, 1000])
def test_a_step_is_the_shifted_chebyshev_polynomial(stages: int) -> None:
    """On y' = λy a step multiplies by a_s + b_s T_s(w₀ + w₁hλ), whose size is at most 1 on all of the interval that
    the number of stages is chosen for."""
    z = jnp.linspace(-_REACH * (stages**2 - 1), 0.0, 200)
    term = diffrax.ODETerm(lambda t, y, args: z * y)
    one, time, h = jnp.ones_like(z), jnp.asarray(0.0), jnp.asarray(1.0)
    made, slope = RKC2()._stages(term, time, h, h, one, None, z * one, z * one, jnp.asarray(stages))
    assert np.array_equal(slope, z * made)

    w0 = 1 + _DAMPING / stages**2
    # By cosh rather than by the series of T_s, which loses digits at a thousand stages.
    angle = np.arccosh(w0)
    value, sinh = np.cosh(stages * angle), np.sinh(angle)
    first = stages * np.sinh(stages * angle) / sinh
    second = (stages**2 * value - w0 * first) / sinh**2
    b, argument = second / first**2, w0 + first / second * np.asarray(z)
    inside = np.cos(stages * np.arccos(np.clip(argument, -1, 1)))
    outside = np.cosh(stages * np.arccosh(np.maximum(argument, 1)))
    expected = 1 - b * value + b * np.where(argument > 1, outside, inside)
    # Rounding in the recurrence grows with the square of the stages.
    assert np.abs(np.asarray(made) - expected).max() <= 1e-13 * stages**2
    assert np.abs(expected).max() <= 1 + 1e-12
    if stages <= 40:
        assert value == pytest.approx(chebyshev.Chebyshev.basis(stages)(w0))
    # What the damping promises: a factor away from 1 in the interior, at every number of stages.
    assert np.abs(expected[argument <= 1]).max() < (0.73 if stages == 2 else 0.66)


def test_order_two_on_a_nonlinear_problem_with_time_in_it() -> None:
    def field(t, y, args):
        return 0.3 * jnp.stack([y[1], -y[0]]) - 0.5 * y * jnp.sum(y**2) + jnp.sin(t)

    y0 = jnp.asarray([1.0, 0.5])
    tight = diffrax.PIDController(rtol=1e-12, atol=1e-13)
    exact = integrate(field, y0, 2.0, solver=diffrax.Dopri8(), controller=tight).ys[-1]

    @jax.jit
    def error(step):
        ends = integrate(field, y0, 2.0, dt0=step, controller=diffrax.ConstantStepSize()).ys
        return jnp.abs(ends[-1] - exact).max()

    errors = [float(error(jnp.asarray(2.0 / count))) for count in (20, 40, 80)]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert (np.abs(orders - 2) < 0.15).all(), orders


def test_a_stiff_problem_with_a_known_solution() -> None:
    @jax.jit
    def run(tolerance):
        return integrate(forced, jnp.full_like(RATES, 2.0), 2.0, tolerance=tolerance)

    for tolerance in (1e-3, 1e-5):
        solution = run(tolerance)
        assert np.abs(np.asarray(solution.ys[-1]) - forced_solution(2.0)).max() <= 2 * tolerance
        # An ordinary explicit method needs λ·t/3 = 6 700 steps here whatever the tolerance.
        assert int(solution.stats["num_steps"]) < 400


def test_dense_output() -> None:
    times = jnp.linspace(0.05, 2.0, 37)
    solution = integrate(forced, jnp.full_like(RATES, 2.0), 2.0, tolerance=1e-6, saveat=diffrax.SaveAt(ts=times))
    exact = np.stack([forced_solution(float(t)) for t in times])
    # Between the ends of a step the slope of a part much faster than the step magnifies that part's error.
    assert np.abs(np.asarray(solution.ys) - exact).max() <= 1e-4


def test_a_step_that_needs_too_many_stages_is_rejected() -> None:
    solution = integrate(forced, jnp.full_like(RATES, 2.0), 2.0, tolerance=1e-3, solver=RKC2(max_stages=8))
    assert np.abs(np.asarray(solution.ys[-1]) - forced_solution(2.0)).max() <= 1e-3
    assert int(solution.stats["num_rejected_steps"]) > 0
    # Eight stages are stable for h·λ = 34 at most: no fewer than about 2·10⁴/34 steps.
    assert int(solution.stats["num_accepted_steps"]) > 550


def test_a_radius_beyond_every_integer() -> None:
    """The number of stages is not an integer any more; the step is rejected until it fits."""
    end = 1e-12
    solution = integrate(lambda t, y, args: -1e15 * y, jnp.ones(2), end, tolerance=1e-6)
    assert np.abs(np.asarray(solution.ys[-1]) - np.exp(-1e3)).max() <= 1e-6
    assert solution.result == diffrax.RESULTS.successful


def test_backwards_in_time() -> None:
    """y' = λ(y − cos t) is stiff and stable backwards. Diffrax hands a solver −t and a control with the sign."""

    def field(t, y, args):
        return RATES * (y - jnp.cos(t))

    solution = integrate(field, jnp.full_like(RATES, 2.0), -2.0, tolerance=1e-5)
    assert np.abs(np.asarray(solution.ys[-1]) - forced_solution(2.0)).max() <= 2e-5


def test_several_leaves_and_what_is_not_coupled() -> None:
    """A tree of leaves of different shapes gives what one vector gives."""

    def field(t, y, args):
        return {"a": -10.0 * (y["a"] - jnp.sum(y["b"])), "b": -2e3 * (y["b"] - jnp.cos(t)), "none": y["none"]}

    y0 = {"a": jnp.asarray(1.0), "b": jnp.ones((2, 3)), "none": jnp.zeros((0,))}

    def flat_field(t, y, args):
        return jnp.concatenate([-10.0 * (y[:1] - jnp.sum(y[1:])), -2e3 * (y[1:] - jnp.cos(t))])

    tree = integrate(field, y0, 1.0).ys
    flat = integrate(flat_field, jnp.ones(7), 1.0).ys
    assert float(jnp.abs(tree["a"][-1] - flat[-1, 0])) <= 1e-4
    assert float(jnp.abs(tree["b"][-1].ravel() - flat[-1, 1:]).max()) <= 1e-4


def test_the_estimate_finds_what_two_equal_leaves_do_against_each_other() -> None:
    """The fastest mode is a − b of two leaves of one shape; a start equal in both would have no part along it."""

    def field(y):
        away = y["a"] - y["b"]
        return {"a": -y["a"] - 500.0 * away, "b": -y["b"] + 500.0 * away}

    y = {"a": jnp.ones(4), "b": jnp.ones(4)}
    growth = Growth.guess(y).improved(field, y, field(y), RKC2()._loop)
    assert float(growth.size) == pytest.approx(1001.0, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_estimate_does_not_depend_on_the_unit_of_the_state(scale: float) -> None:
    matrix = jnp.asarray(np.diag([-1.0, -20.0, -300.0]) + 0.1)
    exact = float(np.abs(np.linalg.eigvals(matrix)).max())

    def field(y):
        return matrix @ y + scale * jnp.sin(y / scale)

    y = scale * jnp.asarray([1e-9, 0.0, 0.0])
    growth = Growth.guess(y).improved(field, y, field(y), RKC2()._loop)
    assert float(growth.size) == pytest.approx(exact, rel=1e-2)


def test_the_estimate_at_rest_and_where_the_field_is_not_defined() -> None:
    rest, loop = Growth.guess(jnp.zeros(3)), RKC2()._loop
    rest = rest.improved(lambda y: 0.0 * y, jnp.zeros(3), jnp.zeros(3), loop)
    assert float(rest.size) == 0.0
    assert float(jnp.linalg.norm(rest.direction)) == pytest.approx(1.0)
    # √y at 0 has no derivative, and no value on one side: what was known is kept.
    away = Growth(-jnp.abs(rest.direction), 7.0 + rest.size, rest.known)
    kept = away.improved(jnp.sqrt, jnp.zeros(3), jnp.zeros(3), loop)
    assert float(kept.size) == 7.0
    assert bool(jnp.isfinite(kept.direction).all())


def test_a_mode_that_becomes_the_fastest_later() -> None:
    """Two equations that do not know of each other: the second is slow at first, then 1 000 times the first."""

    def field(t, y, args):
        rate = jnp.stack([jnp.full_like(t, 20.0), jnp.where(t < 5.0, 0.0, 2e4 * (t - 5.0) ** 2)])
        return -rate * (y - jnp.cos(t))

    solution = integrate(field, jnp.ones(2), 6.0, tolerance=1e-5)
    assert abs(float(solution.ys[-1, 1]) - np.cos(6.0)) <= 1e-4
    # 255 steps; without the share of the slope in the direction, 3 556, most of them hardly stable.
    assert int(solution.stats["num_steps"]) <= 400


def test_behind_a_jump_slope_and_spectral_radius_are_new() -> None:
    """The rates are 10⁴ times larger after t = 1, and the field jumps."""

    def field(t, y, args):
        fast = jnp.where(t < 1.0, 1.0, 1e4)
        return -fast * (y - jnp.where(t < 1.0, 0.0, 3.0))

    inner = diffrax.PIDController(rtol=1e-6, atol=1e-6)
    controller = diffrax.ClipStepSizeController(inner, jump_ts=jnp.asarray([1.0]))
    times = jnp.asarray([0.999999, 2.0])
    solution = integrate(field, jnp.ones(2), 2.0, controller=controller, saveat=diffrax.SaveAt(ts=times))
    assert np.abs(np.asarray(solution.ys) - np.array([[np.exp(-0.999999)], [3.0]])).max() <= 5e-5
    assert int(solution.stats["num_rejected_steps"]) <= 20


def test_in_float32() -> None:
    rates = jnp.geomspace(0.1, 1e4, 20).astype(jnp.float32)
    solution = integrate(
        lambda t, y, args: -rates * (y - jnp.cos(t)),
        jnp.full(20, 2.0, jnp.float32),
        2.0,
        start=jnp.asarray(0.0, jnp.float32),
        tolerance=1e-3,
        solver=RKC2(max_stages=100),
    )
    assert solution.ys.dtype == jnp.float32
    rate = np.asarray(rates, float)
    steady = (rate**2 * np.cos(2.0) + rate * np.sin(2.0)) / (1 + rate**2)
    exact = steady + (2 - rate**2 / (1 + rate**2)) * np.exp(-rate * 2.0)
    assert np.abs(np.asarray(solution.ys[-1], float) - exact).max() <= 3e-3
    assert int(solution.stats["num_steps"]) <= 300


def test_what_it_does_not_take() -> None:
    with pytest.raises(ValueError, match="real floating-point states, not complex128"):
        RKC2().init(diffrax.ODETerm(lambda t, y, args: y), 0.0, 1.0, jnp.ones(2, complex), None)
    with pytest.raises(ValueError, match="max_stages >= 2"):
        RKC2(max_stages=1)
    solver = RKC2()
    object.__setattr__(solver, "differentiation", "both")  # The annotation would refuse it here, not elsewhere.
    with pytest.raises(ValueError, match="'reverse' or 'forward'"):
        solver.__check_init__()


def test_under_vmap_each_problem_is_solved_as_alone() -> None:
    starts = jnp.stack([jnp.full_like(RATES, 2.0), jnp.full_like(RATES, -1.0)])
    run = jax.jit(lambda y0: integrate(forced, y0, 1.0).ys[-1])
    together = jax.vmap(run)(starts)
    alone = jnp.stack([run(y0) for y0 in starts])
    assert float(jnp.abs(together - alone).max()) <= 1e-12


@pytest.mark.slow
def test_derivatives_in_both_modes_against_the_closed_form() -> None:
    rates = jnp.geomspace(0.1, 50.0, 12)

    def total(factor, solver, adjoint):
        field = diffrax.ODETerm(lambda t, y, a: -a * rates * y)
        controller = diffrax.PIDController(rtol=1e-6, atol=1e-6)
        return diffrax.diffeqsolve(
            field, solver, 0.0, 1.0, None, jnp.ones(12), factor, stepsize_controller=controller, adjoint=adjoint
        ).ys.sum()

    exact = -float((rates * jnp.exp(-rates)).sum())
    one = jnp.asarray(1.0)
    reverse = jax.grad(lambda a: total(a, RKC2(), diffrax.RecursiveCheckpointAdjoint()))(one)
    assert float(reverse) == pytest.approx(exact, rel=1e-4)
    forward = jax.jvp(lambda a: total(a, RKC2(differentiation="forward"), diffrax.ForwardMode()), (one,), (one,))[1]
    assert float(forward) == pytest.approx(float(reverse), rel=1e-9)


def test_lowers_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equinox._errors.EQX_ON_ERROR", "off")
    text = lower_for_cuda(lambda y0: integrate(forced, y0, 1.125, throw=False).ys, jnp.ones(60))
    assert "stablehlo.while" in text
    assert "callback" not in text
