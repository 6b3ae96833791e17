"""Published stiff problems, each against a reference that none of our code makes: what the stabilised solver is for,
and what it is not for."""

from __future__ import annotations

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ntkflow.flows import RKC2, ClassFlow, ClassState, random_state
from ntkflow.flows.solvers import kvaerno5_krylov
from ntkflow.kernels import BlockKernel


def solve_to(field, y0, end, tolerance, solver, jumps=None, max_steps=60_000):
    """One solution, or one for each of several tolerances."""

    @eqx.filter_jit
    def run(y0, tolerance):
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        if jumps is not None:
            controller = diffrax.ClipStepSizeController(controller, jump_ts=jnp.asarray(jumps))
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            solver,
            0.0,
            end,
            None,
            y0,
            stepsize_controller=controller,
            max_steps=max_steps,
            throw=False,
        )

    made = [run(y0, jnp.asarray(value)) for value in np.atleast_1d(tolerance)]
    return made if np.ndim(tolerance) else made[0]


def error(solution, reference) -> float:
    assert solution.result == diffrax.RESULTS.successful
    return float(np.abs(np.asarray(solution.ys[-1]) - reference).max())


def hires(y, xp):
    """High irradiance responses: Hairer and Wanner, *Solving Ordinary Differential Equations II*, section IV.10."""
    a, b, c, d, e, f, g, h = y
    return xp.stack(
        [
            -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * f + 0.43 * g,
            -280.0 * f * h + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
            280.0 * f * h - 1.81 * g,
            -280.0 * f * h + 1.81 * g,
        ]
    )


HIRES_START = np.array([1.0, 0, 0, 0, 0, 0, 0, 0.0057])


@pytest.mark.parametrize("name", ["rkc2", pytest.param("kvaerno5_krylov", marks=pytest.mark.slow)])
def test_hires(name: str) -> None:
    reference = solve_ivp(lambda t, y: hires(y, np), (0, 321.8122), HIRES_START, "Radau", rtol=1e-11, atol=1e-14)
    # The published end, to the digits of our reference.
    assert reference.y[0, -1] == pytest.approx(0.7371312573325668e-3, rel=1e-7)
    assert reference.y[7, -1] == pytest.approx(0.2850001604814231e-2, rel=1e-7)
    solver = RKC2() if name == "rkc2" else kvaerno5_krylov()
    solution = solve_to(lambda t, y, args: hires(y, jnp), jnp.asarray(HIRES_START), 321.8122, 1e-7, solver)
    assert error(solution, reference.y[:, -1]) <= 1e-5
    assert int(solution.stats["num_steps"]) <= (2500 if name == "rkc2" else 200)


@pytest.mark.slow
def test_heat_against_its_exact_solution() -> None:
    """u_t = u_xx on (0, 1), u = 0 at the ends, 199 points: each sine decays at its own eigenvalue, the fastest being
    1.6·10⁵; the reference is exact in time, and so is its space."""
    points, end = 199, 0.1
    x = np.arange(1, points + 1) / (points + 1)
    waves = (1, 3, 60, 199)
    rates = {k: 4 * (points + 1) ** 2 * np.sin(k * np.pi / (2 * (points + 1))) ** 2 for k in waves}
    start = sum(np.sin(k * np.pi * x) for k in waves)
    exact = sum(np.exp(-rates[k] * end) * np.sin(k * np.pi * x) for k in waves)
    stencil = jnp.asarray([1.0, -2.0, 1.0]) * (points + 1) ** 2
    solution = solve_to(lambda t, y, args: jnp.convolve(y, stencil, mode="same"), jnp.asarray(start), end, 1e-5, RKC2())
    assert error(solution, exact) <= 1e-4
    # An explicit method of three to seven stages: more than 5 000 steps.
    assert int(solution.stats["num_steps"]) <= 300


@pytest.mark.slow
def test_combustion() -> None:
    """Ignition and a travelling front in two dimensions, an example of Sommeijer, Shampine and Verwer (1997) after
    Adjerid and Flaherty: u_t = Δu + (R/(αδ))(1 + α − u) exp(δ(1 − 1/u)), α = 1, δ = 20, R = 5, on 12×12 points."""
    points, end = 12, 0.31

    def field(u, xp):
        # No flux at the near sides, u = 1 at the far ones; Neumann mirrored at the point itself.
        u = u.reshape(points, points)
        ones = xp.ones((1, points))
        down = xp.concatenate([u[1:], ones], 0)
        up = xp.concatenate([u[1:2], u[:-1]], 0)
        right = xp.concatenate([u[:, 1:], ones.T], 1)
        left = xp.concatenate([u[:, 1:2], u[:, :-1]], 1)
        source = 5.0 / 20.0 * (2.0 - u) * xp.exp(20.0 * (1.0 - 1.0 / u))
        return ((down + up + right + left - 4.0 * u) * points**2 + source).ravel()

    start = np.ones(points**2)
    reference = solve_ivp(lambda t, u: field(u, np), (0, end), start, "LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    assert reference.max() > 1.5  # It has ignited.
    solutions = solve_to(lambda t, u, args: field(u, jnp), jnp.asarray(start), end, [1e-6, 1e-7], RKC2())
    loose, tight = (error(solution, reference) for solution in solutions)
    # An error before ignition is one of its time, and magnified by it, for every solver. It falls with rtol^(2/3), as
    # of order 2.
    assert tight <= 1e-2
    assert 3.0 <= loose / tight <= 6.0
    assert int(solutions[0].stats["num_steps"]) <= 1000


@pytest.mark.slow
def test_medical_akzo_nobel() -> None:
    """Penetration of antibodies into a tumour (Lioen and de Swart, *Test Set for IVP Solvers*, 1998), on 40 instead of
    200 points: a parabolic equation coupled to immobile sites; the inflow stops at t = 5 at once."""
    points, k, c = 40, 100.0, 4.0
    width = 1 / points
    zeta = np.arange(1, points + 1) * width
    alpha, beta = 2 * (zeta - 1) ** 3 / c**2, (zeta - 1) ** 4 / c**2

    def field(inflow, y, xp):
        u, v = y[:points], y[points:]
        # At the far end the coefficients vanish, so what lies behind has no part.
        before, behind = xp.concatenate([inflow, u[:-1]]), xp.concatenate([u[1:], u[-1:]])
        reaction = k * u * v
        motion = alpha * (behind - before) / (2 * width) + beta * (before - 2 * u + behind) / width**2
        return xp.concatenate([motion - reaction, -reaction])

    start = np.concatenate([np.zeros(points), np.ones(points)])
    state = start
    for inflow, span in ((2.0, (0, 5)), (0.0, (5, 20))):
        state = solve_ivp(
            lambda t, y, inflow=inflow: field(np.array([inflow]), y, np), span, state, "LSODA", rtol=1e-10, atol=1e-12
        ).y[:, -1]
    solution = solve_to(
        lambda t, y, args: field(jnp.where(t < 5.0, 2.0, 0.0)[None], y, jnp),
        jnp.asarray(start),
        20.0,
        1e-6,
        RKC2(),
        jumps=[5.0],
    )
    assert error(solution, state) <= 1e-4
    assert int(solution.stats["num_steps"]) <= 2000


def test_prothero_and_robinson() -> None:
    """y' = −λ(y − g(t)) + g'(t) with y = g, for which methods of low stage order lose their order as λ grows."""
    rates = jnp.asarray([1e2, 1e4, 1e6])
    solution = solve_to(
        lambda t, y, args: -rates * (y - jnp.sin(t)) + jnp.cos(t), jnp.zeros(3), 10.0, 1e-5, RKC2(), max_steps=5000
    )
    assert error(solution, np.sin(10.0)) <= 1e-5


@pytest.mark.slow
def test_not_made_for_eigenvalues_beside_the_real_axis() -> None:
    """Next to a slow solution everything turns at 500 while it decays at 1. The stabilised solver stays right, by the
    rejection of steps, but takes as many as an ordinary explicit one; the implicit solver does not mind."""

    def turning(t, y, args):
        away = y - jnp.stack([jnp.cos(t), jnp.sin(t)])
        drift = jnp.stack([-jnp.sin(t), jnp.cos(t)])
        return drift + jnp.stack([-away[0] - 500.0 * away[1], 500.0 * away[0] - away[1]])

    start, exact = jnp.asarray([1.0, 0.0]), np.array([np.cos(2.0), np.sin(2.0)])
    stabilised = solve_to(turning, start, 2.0, 1e-6, RKC2())
    implicit = solve_to(turning, start, 2.0, 1e-6, kvaerno5_krylov())
    assert error(implicit, exact) <= 1e-5
    assert error(stabilised, exact) <= 1e-2
    assert int(stabilised.stats["num_steps"]) > 10 * int(implicit.stats["num_steps"])


def test_not_made_for_a_radius_that_grows_without_end() -> None:
    """Robertson's kinetics: real eigenvalues, so the stabilised solver is right, at a cost that grows with √ρ: until
    t = 40 about thirty right-hand sides a step, on the way to t = 10⁵ about three hundred."""

    def kinetics(y, xp):
        forward, back, pair = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return xp.stack([back - forward, forward - back - pair, pair])

    start = np.array([1.0, 0, 0])
    reference = solve_ivp(lambda t, y: kinetics(y, np), (0, 40), start, "Radau", rtol=1e-10, atol=1e-13).y[:, -1]
    solution = solve_to(lambda t, y, args: kinetics(y, jnp), jnp.asarray(start), 40.0, 1e-6, RKC2(), max_steps=5000)
    assert error(solution, reference) <= 1e-4
    assert int(solution.stats["num_steps"]) <= 1000


def at_the_end(solver, ends, *, classes, per_class, features) -> list[tuple[np.ndarray, int]]:
    """Residual norms and steps of the class flow in the reference recipe, Z = mn, rtol 1e-6, atol 1e-9."""
    kernel = BlockKernel(1.0 * features, 0.8 * features, 0.2 * features, classes=classes, per_class=per_class)
    flow = ClassFlow(kernel, loss_scale=float(per_class * features))
    sample = random_state(jax.random.key(0), classes=classes, per_class=per_class, features=features)

    @eqx.filter_jit
    def run(end):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(flow.vector_field),
            solver,
            0.0,
            end,
            None,
            ClassState.from_sample(sample, classes),
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-9),
            max_steps=20_000,
            throw=False,
        )
        return flow.residual_norms(jax.tree.map(lambda leaf: leaf[-1], solution.ys)), solution.stats["num_steps"]

    return [(np.asarray(norms), int(steps)) for norms, steps in (run(jnp.asarray(end)) for end in ends)]


@pytest.mark.slow
def test_the_end_of_training_does_not_ring() -> None:
    """The explicit solver runs at its stability limit and leaves a residual at the level of its tolerance; the
    stabilised one lets it go below 1e-8."""
    sizes = {"classes": 4, "per_class": 5, "features": 16}
    ((ringing, many),) = at_the_end(diffrax.Tsit5(), [2e4], **sizes)
    (quiet, few), (later, _) = at_the_end(RKC2(), [2e4, 1e5], **sizes)
    assert ringing[:2].max() > 1e-7
    assert quiet[:2].max() < 1e-10
    assert np.linalg.norm(later) < 1e-8
    assert many > 5 * few


@pytest.mark.slow
def test_the_end_of_training_on_the_reference_problem() -> None:
    """C = 10, n = 64, m = 12. At t = 5·10³ the within-class part is still on its way, at 1.7·10⁻⁵."""
    sizes = {"classes": 10, "per_class": 12, "features": 64}
    ((ringing, many),) = at_the_end(diffrax.Tsit5(), [5e3], **sizes)
    (quiet, few), (later, _) = at_the_end(RKC2(), [5e3, 2e4], **sizes)
    assert ringing[:2].max() > 1e-6
    assert quiet[:2].max() < 1e-9
    assert np.linalg.norm(later) < 1e-8
    assert many > 5 * few
