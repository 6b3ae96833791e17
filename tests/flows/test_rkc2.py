"""The stabilised solver: its stability polynomial, its order, stiff problems with known solutions, vmap and grad."""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import chebyshev

from ntkflow.flows import RKC2
from ntkflow.flows.solvers.rkc2 import _stages

RATES = jnp.geomspace(1e-1, 1e4, 60)


def integrate(field, y0, end, *, tolerance=1e-5, solver=None, args=None, **options):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        RKC2() if solver is None else solver,
        0.0,
        end,
        None,
        y0,
        args=args,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
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


@pytest.mark.parametrize("stages", [2, 3, 7, 40])
def test_a_step_is_the_shifted_chebyshev_polynomial(stages: int) -> None:
    """On y' = λy a step multiplies by a_s + b_s T_s(w₀ + w₁hλ), whose size is at most 1 on all of [−β(s), 0]."""
    z = jnp.linspace(-2 / 3 * (stages**2 - 1) * (1 - 2 / 15 * 2 / 13), 0.0, 200)
    term = diffrax.ODETerm(lambda t, y, args: z * y)
    one = jnp.ones_like(z)
    made = _stages(term, jnp.asarray(0.0), jnp.asarray(1.0), one, None, z * one, jnp.asarray(stages), 64)

    w0 = 1 + 2 / 13 / stages**2
    series = chebyshev.Chebyshev.basis(stages)
    first, second = series.deriv(1)(w0), series.deriv(2)(w0)
    b = second / first**2
    expected = 1 - b * series(w0) + b * series(w0 + first / second * np.asarray(z))
    assert np.abs(np.asarray(made) - expected).max() <= 1e-11
    assert np.abs(expected).max() <= 1 + 1e-12


def test_order_two_on_a_nonlinear_problem_with_time_in_it() -> None:
    def field(t, y, args):
        return 0.3 * jnp.stack([y[1], -y[0]]) - 0.5 * y * jnp.sum(y**2) + jnp.sin(t)

    y0 = jnp.asarray([1.0, 0.5])
    exact = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Dopri8(),
        0.0,
        2.0,
        None,
        y0,
        stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-13),
    ).ys[-1]
    errors = [
        float(
            jnp.abs(diffrax.diffeqsolve(diffrax.ODETerm(field), RKC2(), 0.0, 2.0, 2.0 / steps, y0).ys[-1] - exact).max()
        )
        for steps in (20, 40, 80)
    ]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert (np.abs(orders - 2) < 0.15).all(), orders


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_a_stiff_problem_with_a_known_solution(tolerance: float) -> None:
    solution = integrate(forced, jnp.full_like(RATES, 2.0), 2.0, tolerance=tolerance)
    assert np.abs(np.asarray(solution.ys[-1]) - forced_solution(2.0)).max() <= tolerance
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
    # Eight stages are stable for h·λ = 8²·2/3: no fewer than about 2·10⁴/42 steps.
    assert int(solution.stats["num_accepted_steps"]) > 400


def test_under_vmap_each_problem_is_solved_as_alone() -> None:
    starts = jnp.stack([jnp.full_like(RATES, 2.0), jnp.full_like(RATES, -1.0)])
    together = jax.vmap(lambda y0: integrate(forced, y0, 1.0).ys[-1])(starts)
    alone = jnp.stack([integrate(forced, y0, 1.0).ys[-1] for y0 in starts])
    assert float(jnp.abs(together - alone).max()) <= 1e-12


def test_reverse_mode_gradient_against_the_closed_form() -> None:
    rates = jnp.geomspace(0.1, 50.0, 12)

    def total(factor: jax.Array) -> jax.Array:
        return integrate(lambda t, y, a: -a * rates * y, jnp.ones(12), 1.0, tolerance=1e-7, args=factor).ys.sum()

    exact = -float((rates * jnp.exp(-rates)).sum())
    assert float(jax.grad(total)(jnp.asarray(1.0))) == pytest.approx(exact, rel=1e-4)
