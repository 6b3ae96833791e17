"""The hyperbolic flow against SciPy, against the full flow where it is exact, and its scalar case."""

from __future__ import annotations

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.end_of_training import integrate_factors, root
from flows.lowering import lower_for_cuda
from flows.paper_equations import random_problem
from kernels.dense import relative_difference
from scipy.integrate import solve_ivp

from ntkflow.flows import (
    ClassFlow,
    ClassState,
    Hyperbola,
    HyperbolicFlow,
    HyperbolicState,
    InvariantSides,
    solve,
)
from ntkflow.kernels import BlockKernel

M, Z, MU = 4, 7.0, 1.5
KERNEL = BlockKernel(2.5, 1.0, 0.2, classes=3, per_class=M)
FLOW = HyperbolicFlow(KERNEL, loss_scale=Z)
TIMES = np.array([0.0, 0.1, 0.5, 2.0])


def random_hyperbolic(seed: int, factors: int = 9) -> HyperbolicState:
    generator = np.random.default_rng(seed)
    return HyperbolicState(
        jnp.asarray(0.8 * generator.standard_normal((6, factors))), jnp.asarray(generator.standard_normal((3, 6)))
    )


@pytest.fixture(scope="module")
def exact() -> tuple[HyperbolicState, list[tuple[np.ndarray, np.ndarray]]]:
    """A state, and H₂ and W at ``TIMES`` by SciPy, from the equations in balanced factors."""
    state = random_hyperbolic(0)
    a, v = np.sqrt(M) * np.asarray(state.within), np.sqrt(MU) * np.asarray(state.weight)
    solution = integrate_factors(a, v, TIMES / Z)
    return state, [(a / np.sqrt(M), v / np.sqrt(MU)) for a, v in solution]


def test_integrated_and_closed_form(exact) -> None:
    state, expected = exact
    trajectory = solve(FLOW, state, jnp.asarray(TIMES))
    scatter, gram = FLOW.scatter_at(state, jnp.asarray(TIMES)), FLOW.weight_gram_at(state, jnp.asarray(TIMES))
    norms = FLOW.within_norm_at(state, jnp.asarray(TIMES))
    first = FLOW.invariants(state)["Ẽ"]
    for index, (within, weight) in enumerate(expected):
        own = trajectory.state_at(index)
        assert relative_difference(own.within, within) <= 1e-8
        assert relative_difference(own.weight, weight) <= 1e-8
        assert relative_difference(scatter[index], within @ within.T) <= 1e-11
        assert relative_difference(gram[index], weight.T @ weight) <= 1e-11
        norm = np.sqrt(M) * np.linalg.norm(weight @ within)
        assert float(norms[index]) == pytest.approx(norm, rel=1e-9)
        assert trajectory.residual_norms[index].tolist() == pytest.approx([0.0, 0.0, norm], rel=1e-8)
        assert float(trajectory.losses[index]) == pytest.approx(norm**2 / (2 * Z), rel=1e-8)
        invariant = MU * weight.T @ weight - M * within @ within.T
        assert relative_difference(first, invariant) <= 1e-10
        assert relative_difference(trajectory.invariants["Ẽ"][index], invariant) <= 1e-8


def test_the_scatter_does_not_fix_the_features(exact) -> None:
    """H₂(t) = e^{−Ẽt}H₂(0)(I + 2mH₂ᵀKH₂)^{−½} has the right scatter and is not the solution: what is missing is an
    orthogonal matrix that depends on the way. With one column there is none but ±1, and the form is exact.
    """

    def candidate(within: np.ndarray, weight: np.ndarray, time: float) -> np.ndarray:
        values, vectors = np.linalg.eigh(MU * weight.T @ weight - M * within @ within.T)
        x = 2 * values * time
        integral = (vectors * (time * np.where(x == 0, 1.0, -np.expm1(-x) / np.where(x == 0, 1.0, x)))) @ vectors.T
        inner = np.eye(within.shape[1]) + 2 * M * within.T @ integral @ within
        return (vectors * np.exp(-values * time)) @ vectors.T @ within @ np.linalg.inv(root(inner))

    state, expected = exact
    then = expected[2][0]
    guess = candidate(np.asarray(state.within), np.asarray(state.weight), TIMES[2] / Z)
    assert relative_difference(guess @ guess.T, then @ then.T) <= 1e-9
    assert relative_difference(guess, then) >= 1e-3

    single = random_hyperbolic(1, factors=1)
    then = integrate_factors(
        np.sqrt(M) * np.asarray(single.within), np.sqrt(MU) * np.asarray(single.weight), TIMES / Z
    )[2][0] / np.sqrt(M)
    guess = candidate(np.asarray(single.within), np.asarray(single.weight), TIMES[2] / Z)
    assert relative_difference(guess, then) <= 1e-10


def test_the_limit_is_a_fixed_point_of_rank_at_most_that_of_the_start() -> None:
    state = random_hyperbolic(2, factors=2)
    scatter, gram = FLOW.limit(state)
    invariant = np.asarray(FLOW.invariants(state)["Ẽ"])
    values = np.linalg.eigvalsh(invariant)
    np.testing.assert_allclose(M * np.linalg.eigvalsh(scatter)[::-1], np.maximum(-values, 0), atol=1e-12)
    np.testing.assert_allclose(MU * np.linalg.eigvalsh(gram), np.maximum(values, 0), atol=1e-12)
    assert int(np.sum(values < -1e-9)) <= 2
    assert float(jnp.linalg.norm(gram @ scatter)) <= 1e-12
    late = FLOW.scatter_at(state, jnp.asarray([0.0, 1.0, 100.0, 3000.0]))
    assert relative_difference(late[-1], scatter) <= 1e-9


def test_residual_of_samples_and_the_second_invariant() -> None:
    """(27) with the features of all samples is Ẽ/μ up to the class means, which stand still."""
    problem = random_problem(0, classes=3, per_class=M, features=6, outputs=3)
    split = ClassState.from_sample(problem.state, 3)
    state = HyperbolicState.from_class_state(split)
    fitted = ClassFlow(KERNEL, loss_scale=Z, targets=split.weight @ split.class_means + split.bias[:, None])
    assert relative_difference(FLOW.residual(state), fitted.residual(split)) <= 1e-13
    assert relative_difference(FLOW.residual_norms(state), fitted.residual_norms(split)) <= 1e-13
    h, w = np.asarray(problem.state.features), np.asarray(problem.state.weight)
    means = np.asarray(split.class_means)
    second = w.T @ w - h @ h.T / MU
    assert relative_difference(MU * second, np.asarray(FLOW.invariants(state)["Ẽ"]) - M * means @ means.T) <= 1e-12
    with pytest.raises(ValueError, match="H₂ of 2 columns has no samples: 3 classes of 4 need 9 columns"):
        FLOW.residual(HyperbolicState(state.within[:, :2], state.weight))


def test_the_riccati_equation_of_the_full_flow() -> None:
    """ZṠ = −Ẽ(t)S − SẼ(t) − 2mS² with Ẽ(t) = mμ_s(E + H₁AH₁ᵀ/μ_c), at any state and any R₁."""
    problem = random_problem(3, classes=3, per_class=M, features=6, outputs=2)
    state = ClassState.from_sample(problem.state, 3)
    flow = ClassFlow(KERNEL, loss_scale=Z, targets=jnp.asarray(problem.targets))
    moved = flow.vector_field(jnp.asarray(0.0), state, None)
    change = moved.within @ state.within.T
    scatter = state.within @ state.within.T
    means = state.class_means
    between = means @ (jnp.eye(3) - KERNEL.alpha * jnp.ones((3, 3))) @ means.T / KERNEL.lambda_class
    invariant = M * MU * (InvariantSides.of(state, KERNEL).invariant + between)
    expected = -(invariant @ scatter + scatter @ invariant + 2 * M * scatter @ scatter) / Z
    assert relative_difference(change + change.T, expected) <= 1e-12


def split_state(mixed: float) -> tuple[ClassState, ClassFlow]:
    """R₁ = 0 and SH₁ = 0. Two outputs see only the class means and the third only what varies within classes, but for
    what is ``mixed`` in.
    """
    generator = np.random.default_rng(4)
    basis = np.linalg.qr(generator.standard_normal((6, 6)))[0]
    means = basis[:, :3] @ generator.standard_normal((3, 3))
    within = 0.5 * basis[:, 3:] @ generator.standard_normal((3, 9))
    weight = np.vstack(
        [generator.standard_normal((2, 3)) @ basis[:, :3].T, generator.standard_normal(3) @ basis[:, 3:].T]
    )
    weight += mixed * generator.standard_normal((3, 6))
    start = ClassState(*(jnp.asarray(one) for one in (means, within, weight, generator.standard_normal(3))))
    targets = start.weight @ start.class_means + start.bias[:, None]
    return start, ClassFlow(KERNEL, loss_scale=Z, targets=targets)


def test_where_it_is_the_full_flow() -> None:
    """SH₁ = 0 alone does not last: besides, the logits WH₁ and WH₂ have to be orthogonal."""
    start, flow = split_state(0.0)
    full = solve(flow, start, jnp.asarray(TIMES)).state_at(-1)
    alone = solve(FLOW, HyperbolicState.from_class_state(start), jnp.asarray(TIMES)).state_at(-1)
    assert relative_difference(alone.weight, start.weight) >= 0.01
    assert relative_difference(full.class_means, start.class_means) <= 1e-9
    assert relative_difference(full.within, alone.within) <= 1e-8
    assert relative_difference(full.weight, alone.weight) <= 1e-8

    start, flow = split_state(0.5)
    assert float(jnp.linalg.norm(start.within.T @ start.class_means)) <= 1e-13
    assert float(jnp.linalg.norm(flow.class_residual(start))) <= 1e-13
    moved = solve(flow, start, jnp.asarray(TIMES)).state_at(-1)
    assert relative_difference(moved.class_means, start.class_means) >= 1e-3
    assert float(jnp.linalg.norm(flow.class_residual(moved))) >= 1e-3


def test_it_lowers_for_cuda() -> None:
    state = random_hyperbolic(0)
    field = lower_for_cuda(lambda flow, state: flow.vector_field(jnp.asarray(0.0), state, None), FLOW, state)
    closed = lower_for_cuda(lambda flow, state, times: flow.scatter_at(state, times), FLOW, state, jnp.asarray(TIMES))
    assert "stablehlo" in field
    assert "stablehlo" in closed


SCALAR = Hyperbola(mu_single=MU, per_class=M, loss_scale=Z)
STARTS = {"ε > 0": (1.7, 0.6), "ε < 0": (0.4, 1.1), "ε = 0": (2.0, 2.0 * np.sqrt(MU / M)), "s = 0": (1.0, 0.0)}
LATER = np.array([0.0, 0.2, 3.0, 40.0])
along = jax.jit(lambda w, h, times: SCALAR.at(w, h, times))


@pytest.mark.parametrize("name", STARTS)
def test_hyperbola_against_scipy_and_the_matrix_flow(name: str) -> None:
    w0, h0 = STARTS[name]
    solution = solve_ivp(
        lambda _, y: [-M * y[0] * y[1] ** 2 / Z, -MU * y[0] ** 2 * y[1] / Z],
        (0, LATER[-1]), [w0, h0], method="DOP853", rtol=1e-13, atol=1e-100, t_eval=LATER,
    )  # fmt: skip
    w, h = along(jnp.asarray(w0), jnp.asarray(h0), jnp.asarray(LATER))
    np.testing.assert_allclose(w, solution.y[0], rtol=1e-10)
    np.testing.assert_allclose(h, solution.y[1], rtol=1e-10)
    state = HyperbolicState(jnp.asarray([[h0]]), jnp.asarray([[w0]]))
    np.testing.assert_allclose(FLOW.scatter_at(state, jnp.asarray(LATER))[:, 0, 0], h**2, rtol=1e-12)
    np.testing.assert_allclose(FLOW.weight_gram_at(state, jnp.asarray(LATER))[:, 0, 0], w**2, rtol=1e-12)
    invariant = float(SCALAR.invariant(jnp.asarray(w0), jnp.asarray(h0)))
    np.testing.assert_allclose(MU * w**2 - M * h**2, invariant, atol=1e-12)
    limits = SCALAR.limit(jnp.asarray(w0), jnp.asarray(h0))
    assert [float(one) for one in limits] == pytest.approx(
        [max(invariant, 0) / MU, max(-invariant, 0) / M], rel=1e-14, abs=1e-15
    )


@pytest.mark.parametrize("ε", ["3", "-3", "1e-9", "-1e-9", "0"])
def test_hyperbola_against_60_digits(ε: str) -> None:
    """s(t) = e^{−2εt}s₀/(1 + 2ms₀K), K = (1 − e^{−2εt})/(2ε), with 60 digits; t in units of Z."""
    with localcontext() as context:
        context.prec = 60
        epsilon, s0, t = Decimal(ε), Decimal(2), Decimal(20)
        decay = (-2 * epsilon * t).exp()
        integral = (1 - decay) / (2 * epsilon) if epsilon else t
        s = decay * s0 / (1 + 2 * M * s0 * integral)
        w0, expected_h, expected_w = (
            float(x)
            for x in (((epsilon + M * s0) / Decimal(MU)).sqrt(), s.sqrt(), ((epsilon + M * s) / Decimal(MU)).sqrt())
        )
    w, h = along(jnp.asarray(w0), jnp.sqrt(2.0), jnp.asarray([20.0 * Z] * 4))
    # ε comes from w₀ and h₀, each rounded to 16 digits, and decays are e^{−|ε|t}.
    assert float(w[0]) == pytest.approx(expected_w, rel=1e-12)
    assert float(h[0]) == pytest.approx(expected_h, rel=1e-12)


def test_hyperbola_has_gradients_where_the_invariant_vanishes() -> None:
    h0 = np.sqrt(MU / M)
    feature = jax.jit(lambda w: SCALAR.at(w, jnp.asarray(h0), jnp.asarray(3.0))[1])
    gradient, step = jax.jit(jax.grad(feature))(jnp.asarray(1.0)), 1e-5
    values = [float(feature(jnp.asarray(1.0 + side))) for side in (step, -step)]
    assert float(gradient) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-8)


def test_directions_that_do_not_mix_are_hyperbolas() -> None:
    """Rates from 0 to 50 side by side until t = 10⁴."""
    features, weights = np.array([1.0, 0.1, 3.0, 2.0]), np.array([np.sqrt(M / MU), 0.5, 6.0, 0.1])
    state = HyperbolicState(jnp.diag(jnp.asarray(features)), jnp.diag(jnp.asarray(weights)))
    times = jnp.asarray([0.0, 1.0, 100.0, 1e4])
    scatter, gram = FLOW.scatter_at(state, times), FLOW.weight_gram_at(state, times)
    for index, (w0, h0) in enumerate(zip(weights, features, strict=True)):
        w, h = along(jnp.asarray(w0), jnp.asarray(h0), times)
        np.testing.assert_allclose(scatter[:, index, index], h**2, rtol=1e-11)
        np.testing.assert_allclose(gram[:, index, index], w**2, rtol=1e-11)
    # The first has Ẽ = 0.
    assert float(scatter[-1, 0, 0]) == pytest.approx(1 / (1 + 2 * M * 1e4 / Z), rel=1e-10)
