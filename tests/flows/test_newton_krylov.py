"""Matrix-free implicit steps: Arnoldi and GMRES against dense algebra, estimated spectra against dense Jacobians, and
Kvaerno5 with Newton–Krylov stages against SciPy and against explicit solvers."""

from __future__ import annotations

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from flows.lowering import lower_for_cuda
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from ntkflow.flows import ClassFlow, ClassState, SampleFlow, random_state
from ntkflow.flows.solvers import NewtonKrylov, estimate_spectrum, kvaerno5_krylov
from ntkflow.flows.solvers.krylov import arnoldi, gmres
from ntkflow.kernels import BlockKernel

RNG = np.random.default_rng(3)
MATRIX = jnp.asarray(3 * np.eye(30) + RNG.standard_normal((30, 30)) / 3)
RIGHT = jnp.asarray(RNG.standard_normal(30))


def small_flow() -> tuple[ClassFlow, ClassState]:
    """The recipe of the reference problem in small; the clock is that of Z = mn."""
    kernel = BlockKernel(16.0, 0.8 * 16, 0.2 * 16, classes=4, per_class=5)
    sample = random_state(jax.random.key(0), classes=4, per_class=5, features=16)
    return ClassFlow(kernel, loss_scale=5.0 * 16), ClassState.from_sample(sample, 4)


def solve_to(field, y0, end, tolerance, solver, max_steps=4000):
    @eqx.filter_jit
    def run(y0):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            solver,
            0.0,
            end,
            None,
            y0,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=1e-3 * tolerance),
            max_steps=max_steps,
            throw=False,
        )

    solution = run(y0)
    assert solution.result == diffrax.RESULTS.successful
    return jax.tree.map(lambda leaf: leaf[-1], solution.ys), int(solution.stats["num_steps"])


def test_arnoldi_keeps_its_relation_and_its_basis_orthonormal() -> None:
    space = arnoldi(lambda v: MATRIX @ v, RIGHT, 12)
    assert int(space.built) == 12
    assert float(jnp.abs(space.basis @ space.basis.T - jnp.eye(13)).max()) <= 1e-14
    assert float(jnp.abs(MATRIX @ space.basis[:-1].T - space.basis.T @ space.hessenberg).max()) <= 1e-13


@pytest.mark.parametrize("tolerance", [1e-1, 1e-4, 1e-12])
def test_gmres_stops_at_its_tolerance(tolerance: float) -> None:
    """And knows its residual without having computed it; one dimension less would not have been enough."""
    found, space = gmres(lambda v: MATRIX @ v, RIGHT, dimension=30, tolerance=tolerance)
    left = np.linalg.norm(RIGHT - MATRIX @ found) / np.linalg.norm(RIGHT)
    assert left <= 1.001 * tolerance
    assert float(space.residual) == pytest.approx(left, rel=1e-6, abs=1e-15)
    k = int(space.built) - 1
    krylov = np.linalg.qr(np.stack([np.linalg.matrix_power(MATRIX, i) @ RIGHT for i in range(k)], 1))[0]
    best = np.linalg.lstsq(MATRIX @ krylov, np.asarray(RIGHT), rcond=None)[0]
    assert np.linalg.norm(RIGHT - MATRIX @ krylov @ best) / np.linalg.norm(RIGHT) > tolerance


def test_gmres_gives_the_best_of_a_space_that_is_too_small() -> None:
    found, space = gmres(lambda v: MATRIX @ v, RIGHT, dimension=5, tolerance=1e-12)
    krylov = np.linalg.qr(np.stack([np.linalg.matrix_power(MATRIX, i) @ RIGHT for i in range(5)], 1))[0]
    best = krylov @ np.linalg.lstsq(MATRIX @ krylov, np.asarray(RIGHT), rcond=None)[0]
    assert int(space.built) == 5
    assert np.abs(np.asarray(found) - best).max() <= 1e-10


def test_gmres_in_closed_and_empty_spaces() -> None:
    identity, space = gmres(lambda v: 2.0 * v, RIGHT, dimension=10, tolerance=1e-10)
    assert int(space.built) == 1
    np.testing.assert_allclose(identity, RIGHT / 2, rtol=1e-14)
    nothing, space = gmres(lambda v: MATRIX @ v, jnp.zeros(30), dimension=10, tolerance=1e-10)
    assert int(space.built) == 0
    assert not np.asarray(nothing).any()
    # A vanishing operator has no solution: 0 rather than a division by 0.
    impossible, _ = gmres(lambda v: 0.0 * v, RIGHT, dimension=10, tolerance=1e-10)
    assert not np.asarray(impossible).any()


def dense_eigenvalues(field, y0) -> np.ndarray:
    flat, unravel = ravel_pytree(y0)
    return np.linalg.eigvals(jax.jacfwd(lambda v: ravel_pytree(field(jnp.asarray(0.0), unravel(v), None))[0])(flat))


@pytest.mark.parametrize("kind", ["class", "sample", "rotation", "heat"])
def test_spectrum_against_the_dense_jacobian(kind: str) -> None:
    flow, state = small_flow()
    if kind == "class":
        field, y0 = flow.vector_field, state
    elif kind == "sample":
        sample = state.to_sample()
        field, y0 = SampleFlow(flow.kernel, loss_scale=flow.loss_scale).vector_field, sample
    elif kind == "rotation":
        field, y0 = lambda t, y, args: jnp.stack([-y[0] - 70 * y[1], 70 * y[0] - y[1], -5 * y[2]]), jnp.ones(3)
    else:
        field, y0 = lambda t, y, args: jnp.convolve(y, jnp.asarray([1.0, -2.0, 1.0]), mode="same"), jnp.ones(40)
    exact = dense_eigenvalues(field, y0)
    found = estimate_spectrum(field, 0.0, y0, products=30)
    # A clustered edge (the Laplacian) is approached slowly; the flows' largest eigenvalues stand apart.
    error = 2e-2 if kind == "heat" else 1e-8
    assert found.radius == pytest.approx(np.abs(exact).max(), rel=error)
    assert found.rightmost == pytest.approx(exact.real.max(), rel=1e-2, abs=error * np.abs(exact).max())
    if kind == "rotation":
        assert found.widest == pytest.approx(70.0)
        assert found.products == 3
        assert "70" in str(found)
    # The reported residual bounds the distance to the spectrum of a normal Jacobian.
    if kind in ("rotation", "heat"):
        assert np.abs(np.abs(exact) - found.radius).min() <= max(found.residual, 1e-12) * found.radius


def test_spectrum_tells_how_many_steps_an_explicit_solver_would_take() -> None:
    """Tsit5 on y' = −λy, long after y has gone: what it takes is what stability demands."""
    rates = jnp.asarray([1.0, 300.0])
    estimate = estimate_spectrum(lambda t, y, args: -args * (y - jnp.cos(t)), 0.0, jnp.ones(2), rates)
    _, steps = solve_to(lambda t, y, args: -rates * (y - jnp.cos(t)), jnp.ones(2), 20.0, 1e-4, diffrax.Tsit5())
    assert steps == pytest.approx(estimate.explicit_steps(20.0), rel=0.25)


def test_spectrum_refuses_what_it_cannot_estimate() -> None:
    with pytest.raises(ValueError, match="products >= 1"):
        estimate_spectrum(lambda t, y, args: y, 0.0, jnp.ones(2), products=0)
    with pytest.raises(ValueError, match="not finite at t = 2"):
        estimate_spectrum(lambda t, y, args: jnp.sqrt(y), 2.0, jnp.zeros(2))
    still = estimate_spectrum(lambda t, y, args: 0.0 * y, 0.0, jnp.ones(2))
    assert (still.radius, still.residual) == (0.0, 0.0)


@pytest.mark.slow
def test_the_class_flow_to_its_end_against_scipy() -> None:
    """The time scale of the flow is 1/λ_single, thousands of times the stable step of an explicit method."""
    flow, state = small_flow()
    flat, unravel = ravel_pytree(state)
    field = jax.jit(lambda v: ravel_pytree(flow.vector_field(jnp.asarray(0.0), unravel(v), None))[0])
    reference = solve_ivp(lambda t, v: np.asarray(field(v)), (0, 2e3), flat, "DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    end, steps = solve_to(flow.vector_field, state, 2e3, 1e-6, kvaerno5_krylov())
    assert np.abs(np.asarray(ravel_pytree(end)[0]) - reference).max() <= 3e-6
    assert steps <= 150
    # No ringing: the parts of R that are gone are gone.
    assert float(flow.residual_norms(end)[:2].max()) <= 1e-8


def test_no_preference_for_the_real_axis() -> None:
    """Van der Pol's oscillator, μ = 100: eigenvalues cross to the right of the axis twice a period."""

    def oscillator(t, y, args):
        return jnp.stack([y[1], 100.0 * (1 - y[0] ** 2) * y[1] - y[0]])

    exact = solve_ivp(
        lambda t, y: [y[1], 100.0 * (1 - y[0] ** 2) * y[1] - y[0]],
        (0, 200),
        [2.0, 0.0],
        "Radau",
        rtol=1e-10,
        atol=1e-12,
    ).y[:, -1]
    end, steps = solve_to(oscillator, jnp.asarray([2.0, 0.0]), 200.0, 1e-6, kvaerno5_krylov())
    assert np.abs(np.asarray(end) - exact).max() <= 1e-4
    assert steps <= 600


def test_no_matrix_of_the_size_of_the_state_squared_is_formed() -> None:
    size = 1500

    def field(t, y, args):
        return -jnp.linspace(1.0, 2e3, size) * (y - jnp.cos(t))

    def run(y0, solver):
        controller = diffrax.PIDController(rtol=1e-5, atol=1e-8)
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), solver, 0.0, 1.0, None, y0, stepsize_controller=controller, throw=False
        ).ys

    free = jax.jit(lambda y0: run(y0, kvaerno5_krylov())).lower(jnp.ones(size)).as_text()
    dense = jax.jit(lambda y0: run(y0, diffrax.Kvaerno5())).lower(jnp.ones(size)).as_text()
    assert f"{size}x{size}" in dense
    assert f"{size}x{size}" not in free


def test_equations_that_are_not_numbers_end_the_search() -> None:
    finder = NewtonKrylov(rtol=1e-8, atol=1e-8, norm=optx.max_norm)
    solution = optx.root_find(lambda y, args: jnp.log(y) - 1.0, finder, jnp.asarray([-1.0]), throw=False)
    assert solution.result == optx.RESULTS.nonlinear_divergence
    solution = optx.root_find(lambda y, args: jnp.log(y) - 1.0, finder, jnp.asarray([2.0]), throw=False)
    assert solution.result == optx.RESULTS.successful
    assert float(solution.value[0]) == pytest.approx(np.e, rel=1e-9)


def test_options_are_checked() -> None:
    for options in ({"forcing": 0.0}, {"forcing": 1.0}, {"dimension": 0}):
        with pytest.raises(ValueError, match="forcing"):
            kvaerno5_krylov(**options)


def test_lowers_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equinox._errors.EQX_ON_ERROR", "off")
    flow, state = small_flow()

    def run(state):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(flow.vector_field),
            kvaerno5_krylov(),
            0.0,
            1.0,
            None,
            state,
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-9),
            throw=False,
        ).ys

    text = lower_for_cuda(run, state)
    assert "stablehlo.while" in text
    assert "callback" not in text
