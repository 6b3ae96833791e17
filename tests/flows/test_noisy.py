"""Noisy block values: known moments and exact paths of the residual, and the class flow against smooth fluctuations."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from flows.paper_equations import full_residual, integrate_with_scipy, random_problem, right_hand_side
from kernels.dense import relative_difference

from ntkflow.errors import SolverError
from ntkflow.flows import ClassFlow, ClassState, InvariantFlow, InvariantSides, ResidualFlow, SampleFlow
from ntkflow.flows.noisy import (
    CorrelatedNoiseFlow,
    NoisyFlow,
    OffsetState,
    derivative_in_kernel,
    invariant_response,
)
from ntkflow.flows.solve_sde import NoisyPaths, brownian_paths, integrate_paths, solve_paths
from ntkflow.kernels import BlockKernel

PROBLEM = random_problem(0, classes=3, per_class=4, features=5, outputs=3)
KERNEL = PROBLEM.kernel
STATE = ClassState.from_sample(PROBLEM.state, 3)
TARGETS = jnp.asarray(PROBLEM.targets)
FLOW = ClassFlow(KERNEL, loss_scale=PROBLEM.loss_scale, targets=TARGETS)
NOISE = (0.5, 0.3, 0.1)
STRONG = (0.9, 0.6, 0.3)
PATHS = 1500
KEY = jax.random.key(7)
ZERO = jnp.asarray(0.0)

# Of K_d = I, K_c = YᵀY − I, K_n = 11ᵀ − YᵀY: eigenvalues on the global mean, the class means, within class.
BASIS = np.asarray([[1.0, 3.0, 8.0], [1.0, 3.0, -4.0], [1.0, -1.0, 0.0]])
RESIDUAL = ResidualFlow(BlockKernel(2.0, 1.0, 0.3, classes=3, per_class=4), loss_scale=8.0)
START = jnp.asarray(np.random.default_rng(0).standard_normal((1, 12)))
TIMES = jnp.linspace(0.0, 1.0, 3)
FINE = jnp.linspace(0.0, 1.0, 41)  # Every Brownian path here is taken on it, for one compilation.


def parts(residual: jax.Array) -> dict[str, jax.Array]:
    """The components of R along one unit vector of each eigenspace: they keep their sign."""
    vectors = jnp.asarray([np.ones(12), [*np.ones(4), *-np.ones(4), *np.zeros(4)], [1, -1, *np.zeros(10)]])
    return {"parts": vectors @ residual[0] / jnp.linalg.norm(vectors, axis=1)}


def whole(state: ClassState) -> dict[str, jax.Array]:
    return {"means": state.class_means, "within": state.within, "weight": state.weight, "bias": state.bias}


def flat(arrays: dict[str, jax.Array]) -> np.ndarray:
    return np.concatenate([np.asarray(arrays[name]).ravel() for name in sorted(arrays)])


def of_arrays(arrays: tuple[np.ndarray, ...]) -> dict[str, jax.Array]:
    return whole(ClassState.from_sample(dataclasses.replace(PROBLEM, initial=arrays).state, 3))


@pytest.fixture(scope="module")
def residuals() -> dict[float, NoisyPaths]:
    flow = NoisyFlow(RESIDUAL, STRONG)
    return {
        step: solve_paths(flow, START, TIMES, key=KEY, paths=PATHS, step_size=step, observe=parts, as_many_steps=40)
        for step in (0.05, 0.025)
    }


STEPS = 40
GRID = jnp.linspace(0.0, PROBLEM.end, STEPS + 1)
STEP = PROBLEM.end / STEPS


def class_paths(noise: tuple[float, float, float]) -> NoisyPaths:
    return solve_paths(NoisyFlow(FLOW, noise), STATE, GRID, key=KEY, paths=3, step_size=STEP, observe=whole)


@pytest.fixture(scope="module")
def noisy() -> NoisyPaths:
    return class_paths(NOISE)


@pytest.fixture(scope="module")
def correlated() -> dict[float, NoisyPaths]:
    start = OffsetState.at_mean(START)
    return {
        tau: solve_paths(
            CorrelatedNoiseFlow(RESIDUAL, STRONG, correlation_time=tau),
            start,
            TIMES,
            key=KEY,
            paths=PATHS,
            step_size=0.025,
            observe=with_offsets,
        )
        for tau in (0.4, 0.1)
    }


def with_offsets(state: OffsetState) -> dict[str, jax.Array]:
    return {**parts(state.state), "offsets": state.offsets}


def brownian() -> np.ndarray:
    """At TIMES."""
    return np.asarray(brownian_paths(KEY, PATHS, FINE))[:, ::20]


def exact(times: jax.Array, brownian: np.ndarray) -> np.ndarray:
    """Each part of R along given Brownian paths: R exp(−(λt + Σ_i (∂λ/∂κ_i) σ_i B_i)/Z), Stratonovich's calculus being
    the ordinary one."""
    exponent = np.asarray(times)[:, None] * np.asarray(RESIDUAL.kernel.eigenvalues) + brownian @ (BASIS * STRONG).T
    return np.asarray(parts(START)["parts"]) * np.exp(-exponent / 8.0)


@pytest.mark.slow
def test_the_residual_along_given_paths(residuals: dict[float, NoisyPaths]) -> None:
    """The error of Heun's method along a path: first order in the step, and not Itô's solution."""
    expected = exact(TIMES, brownian())
    errors = []
    for step in (0.05, 0.025):
        found = np.asarray(residuals[step].observed["parts"])
        errors.append(np.sqrt(np.mean((found - expected)[:, -1] ** 2, axis=0)))
    size = np.sqrt(np.mean(expected[:, -1] ** 2, axis=0))
    assert (errors[1] <= 4e-3 * size).all()
    ratio = errors[0] / errors[1]
    assert ((ratio > 1.7) & (ratio < 3)).all(), ratio
    # Itô's solution has −σ²t/2 more in the exponent.
    squares = ((BASIS * STRONG) ** 2).sum(axis=1) / 8.0**2
    ito = np.sqrt(np.mean((expected[:, -1] * (1 - np.exp(-squares / 2))) ** 2, axis=0))
    assert (ito[:2] > 10 * errors[1][:2]).all()


@pytest.mark.slow
def test_mean_and_mean_square_of_the_residual(residuals: dict[float, NoisyPaths]) -> None:
    """E R = R₀ exp(−λt/Z + s²t/(2Z²)), E R² = R₀² exp(−2λt/Z + 2s²t/Z²), s² = Σ σ_i² (∂λ/∂κ_i)²: within 4 standard
    errors, which are small enough to tell it from Itô's solution and from the flow without noise."""
    paths = residuals[0.025]
    start = np.asarray(parts(START)["parts"])
    rates = np.asarray(RESIDUAL.kernel.eigenvalues) / 8.0
    squares = ((BASIS * STRONG) ** 2).sum(axis=1) / 8.0**2
    mean, error = np.asarray(paths.mean("parts"))[-1], np.asarray(paths.standard_error("parts"))[-1]
    expected = start * np.exp(-rates + squares / 2)
    assert (np.abs(mean - expected) <= 4 * error).all()
    assert (np.abs(expected - start * np.exp(-rates)) > 5 * error)[:2].all()
    values = np.asarray(paths.observed["parts"])[:, -1] ** 2
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - start**2 * np.exp(-2 * rates + 2 * squares)) <= 4 * error).all()


def test_mean_and_standard_error_are_what_they_are_called(residuals: dict[float, NoisyPaths]) -> None:
    paths = residuals[0.05]
    values = np.asarray(paths.observed["parts"])
    assert paths.paths == PATHS
    assert paths.steps == 20
    assert paths.step_size == pytest.approx(0.05)
    np.testing.assert_allclose(paths.mean("parts"), values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(paths.standard_error("parts"), values.std(axis=0, ddof=1) / np.sqrt(PATHS), 1e-11, 1e-14)
    one = NoisyPaths(times=paths.times, observed={"parts": paths.observed["parts"][:1]}, steps=20, step_size=0.05)
    assert np.isnan(one.standard_error("parts")).all()


def test_brownian_paths_have_the_right_covariance() -> None:
    times = np.asarray(FINE)[[0, 6, 8, 40]]
    found = np.asarray(brownian_paths(KEY, PATHS, FINE))[:, [0, 6, 8, 40]]
    increments = np.diff(found, axis=1)
    assert not found[:, 0].any()
    spread = increments / np.sqrt(np.diff(times))[:, None]
    covariance = np.cov(spread.reshape(PATHS, 9).T)
    # The standard error of a sample covariance of unit Gaussians: √2 on the diagonal and 1 off it, over √PATHS.
    assert np.abs(covariance - np.eye(9)).max() <= 4 * np.sqrt(2 / PATHS)


def test_the_class_flow_along_smooth_fluctuations(noisy: NoisyPaths) -> None:
    """Stratonovich's solution is the limit of κ̄ + (slope of the Brownian path's polygon): an ordinary equation, here
    SciPy's on the sample form (19), a value for each piece."""
    brownian = np.asarray(brownian_paths(KEY, 3, GRID))
    clean = flat(of_arrays(integrate_with_scipy(PROBLEM)[-1]))
    for index in range(2):
        arrays = PROBLEM.initial
        for increment in np.diff(brownian[index], axis=0):
            kappa = tuple(np.asarray(PROBLEM.kappa) + np.asarray(NOISE) * increment / STEP)
            arrays = integrate_with_scipy(dataclasses.replace(PROBLEM, kappa=kappa, initial=arrays, end=STEP))[-1]
        expected = flat(of_arrays(arrays))
        found = flat({name: values[index, -1] for name, values in noisy.observed.items()})
        assert np.linalg.norm(found - expected) <= 0.02 * np.linalg.norm(expected - clean)


def test_without_noise_it_is_the_class_flow() -> None:
    """Heun's method written out on the NumPy equations, step by step; and the flow itself up to second order."""
    found = class_paths((0.0, 0.0, 0.0))
    arrays = PROBLEM.initial
    for _ in range(STEPS):
        first = right_hand_side(PROBLEM, arrays)
        second = right_hand_side(PROBLEM, tuple(a + STEP * f for a, f in zip(arrays, first, strict=True)))
        arrays = tuple(a + STEP * (f + g) / 2 for a, f, g in zip(arrays, first, second, strict=True))
    clean = flat(of_arrays(integrate_with_scipy(PROBLEM)[-1]))
    for index in range(3):
        last = flat({name: values[index, -1] for name, values in found.observed.items()})
        assert relative_difference(last, flat(of_arrays(arrays))) <= 1e-12
        assert relative_difference(last, clean) <= 1e-3


def test_what_the_noise_does_to_the_invariant(noisy: NoisyPaths) -> None:
    """dE = Σ σ_i (response to e_i) ∘ dB_i: its sum by midpoints along a path is what E moved by; by left points, Itô's
    integral, it is not."""
    increments = jnp.diff(brownian_paths(KEY, 3, GRID), axis=1) * jnp.asarray(NOISE)

    def state(arrays: dict[str, jax.Array]) -> ClassState:
        return ClassState(arrays["means"], arrays["within"], arrays["weight"], arrays["bias"])

    response = jax.jit(jax.vmap(jax.vmap(lambda arrays, values: invariant_response(FLOW, state(arrays), values))))
    before = {name: values[:, :-1] for name, values in noisy.observed.items()}
    after = {name: values[:, 1:] for name, values in noisy.observed.items()}
    left, right = response(before, increments), response(after, increments)
    for index in range(3):
        begin, end = (state({name: a[index, i] for name, a in noisy.observed.items()}) for i in (0, -1))
        moved = InvariantSides.of(end, KERNEL).invariant - InvariantSides.of(begin, KERNEL).invariant
        midpoint = jnp.sum(left[index] + right[index], axis=0) / 2
        size = float(jnp.linalg.norm(moved))
        assert size > 0.003 * float(InvariantSides.of(begin, KERNEL).scale)
        error = float(jnp.linalg.norm(midpoint - moved))
        assert error <= 0.1 * size
        assert float(jnp.linalg.norm(jnp.sum(left[index], axis=0) - moved)) >= 10 * error


@pytest.mark.parametrize("seed", range(3))
def test_the_response_of_the_invariant(seed: int) -> None:
    """Against the dense sum WᵀRK_vK⁻¹Hᵀ/(mZ) plus its transpose; nothing moves E where the data is fitted."""
    problem = random_problem(seed, classes=3, per_class=4, features=5, outputs=3)
    values = np.random.default_rng(seed).standard_normal(3)
    h, w, _ = problem.initial
    acting = np.asarray(BlockKernel(*values, classes=3, per_class=4).as_matrix())
    inverse = np.linalg.inv(np.asarray(problem.kernel.as_matrix()))
    half = w.T @ full_residual(problem, problem.initial) @ acting @ inverse @ h.T / (4 * problem.loss_scale)
    flow = ClassFlow(problem.kernel, loss_scale=problem.loss_scale, targets=jnp.asarray(problem.targets))
    state = ClassState.from_sample(problem.state, 3)
    assert relative_difference(invariant_response(flow, state, jnp.asarray(values)), half + half.T) <= 1e-12
    fitted = ClassState(state.class_means, 0 * state.within, state.weight, state.bias)
    there = ClassFlow(problem.kernel, loss_scale=1.0, targets=fitted.weight @ fitted.class_means + state.bias[:, None])
    assert float(jnp.abs(invariant_response(there, fitted, jnp.asarray(values))).max()) <= 1e-13


@pytest.mark.parametrize("form", ["sample", "class", "residual"])
def test_the_derivative_in_the_kernel(form: str) -> None:
    """The vector field is affine in κ: its difference for two kernels is the derivative exactly."""
    values = jnp.asarray([0.7, -0.4, 0.2])
    flow, state = {
        "sample": (SampleFlow(KERNEL, loss_scale=PROBLEM.loss_scale, targets=TARGETS), PROBLEM.state),
        "class": (FLOW, STATE),
        "residual": (RESIDUAL, START),
    }[form]
    kernel = flow.kernel
    moved = BlockKernel(
        kernel.diagonal + values[0],
        kernel.same_class + values[1],
        kernel.different_class + values[2],
        classes=3,
        per_class=4,
    )
    other = eqx.tree_at(lambda flow: flow.kernel, flow, moved)
    expected = jax.tree.map(jnp.subtract, other.vector_field(ZERO, state, None), flow.vector_field(ZERO, state, None))
    found = derivative_in_kernel(flow, ZERO, state, values)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert form == "residual" or not np.asarray(found.weight).any()


@pytest.mark.slow
def test_correlated_fluctuations(correlated: dict[float, NoisyPaths]) -> None:
    """∫x dt = σB − τx, so R is known along each path; the variance of x is (σ²/2τ)(1 − exp(−2t/τ))."""
    path = brownian()
    for tau, paths in correlated.items():
        offsets = np.asarray(paths.observed["offsets"])
        expected = exact(TIMES, path - tau * offsets / np.asarray(STRONG))
        found = np.asarray(paths.observed["parts"])
        size = np.sqrt(np.mean(expected[:, -1] ** 2, axis=0))
        assert (np.sqrt(np.mean((found - expected)[:, -1] ** 2, axis=0)) <= 2e-3 * size).all()
        variance = np.asarray(STRONG) ** 2 / (2 * tau) * (1 - np.exp(-2 / tau))
        # Four standard errors, and Heun's own error: (h/τ)²/12 of the variance and less.
        ratio = offsets[:, -1].var(axis=0, ddof=1) / variance
        assert np.abs(ratio - 1).max() <= 4 * np.sqrt(2 / PATHS) + (0.025 / tau) ** 2


@pytest.mark.slow
def test_correlated_fluctuations_become_white(correlated: dict[float, NoisyPaths]) -> None:
    """Wong and Zakai: for τ → 0 on the same path, with an error of the order √τ, Stratonovich's solution."""
    white = exact(TIMES, brownian())[:, -1]
    errors = [
        np.sqrt(np.mean((np.asarray(paths.observed["parts"])[:, -1] - white) ** 2, axis=0))
        for paths in correlated.values()
    ]
    ratio = errors[0] / errors[1]
    assert ((ratio > 1.6) & (ratio < 2.6)).all(), ratio


def test_paths_that_blow_up_are_named() -> None:
    flow = NoisyFlow(RESIDUAL, (0.0, 0.0, 1e30))
    with pytest.raises(SolverError, match=r"the case: 1500 of 1500 paths are no longer finite at t = 0\.5"):
        solve_paths(
            flow, START, TIMES, key=KEY, paths=PATHS, step_size=0.05, observe=parts, as_many_steps=40, name="the case"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paths": 0}, "at least one path"),
        ({"step_size": 0.0}, "step must be positive"),
        ({"step_size": float("nan")}, "step must be positive"),
        ({"times": jnp.asarray([0.0, 1.0, 1.0])}, "increasing"),
        ({"times": jnp.asarray([0.0, 1e-9, 1.0])}, "too small for the Brownian paths"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, object], message: str) -> None:
    given = {"times": TIMES, "paths": 4, "step_size": 0.1, **options}
    times = given.pop("times")
    with pytest.raises(ValueError, match=message):
        solve_paths(NoisyFlow(RESIDUAL, NOISE), START, times, key=KEY, **given)


def test_bad_noise_is_refused() -> None:
    for noise in ((-0.1, 0.0, 0.0), (0.0, float("inf"), 0.0)):
        with pytest.raises(ValueError, match="noise of a block value"):
            NoisyFlow(FLOW, noise)
    for tau in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="correlation time"):
            CorrelatedNoiseFlow(FLOW, NOISE, correlation_time=tau)
    reduced, _ = InvariantFlow.starting_at(PROBLEM.state, KERNEL, loss_scale=1.0)
    with pytest.raises(ValueError, match="not for InvariantFlow"):
        NoisyFlow(reduced, NOISE)


def test_it_lowers_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equinox._errors.EQX_ON_ERROR", "off")
    flow = CorrelatedNoiseFlow(FLOW, NOISE, correlation_time=0.1)
    state = OffsetState.at_mean(STATE)
    step = jnp.asarray([0.1, 0.2, 0.3])
    for function in (
        lambda flow, state: flow.vector_field(ZERO, state, None),
        lambda flow, state: flow.noise(ZERO, state, step),
    ):
        assert "stablehlo" in lower_for_cuda(function, flow, state)
    text = lower_for_cuda(
        lambda flow, start, times, brownian: integrate_paths(flow, start, times, times, brownian, parts),
        NoisyFlow(RESIDUAL, NOISE),
        START,
        jnp.linspace(0.0, 1.0, 6),
        brownian_paths(KEY, 2, jnp.linspace(0.0, 1.0, 6)),
    )
    assert "stablehlo.while" in text
    assert "callback" not in text
