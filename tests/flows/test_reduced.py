"""The reduction by the invariant: it is the flow (19), S stays what a scatter is, and where it loses digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.high_precision import reference, states_by_scipy
from flows.paper_equations import Arrays, Problem, flattened, invariant_sides, random_problem
from kernels.dense import relative_difference

from ntkflow.flows import (
    ClassFlow,
    ClassState,
    Integration,
    InvariantFlow,
    InvariantSides,
    SampleState,
    integrate,
    represent,
    solve,
    zero_invariant_state,
)
from ntkflow.kernels import BlockKernel


def low_rank(problem: Problem) -> Problem:
    """Features in a plane, a feature that is always 0, and W in all directions."""
    h, w, b = problem.initial
    basis = np.linalg.qr(h[:-1, :2])[0]
    h = np.vstack([basis @ (basis.T @ h[:-1]), np.zeros((1, h.shape[1]))])
    return replace(problem, initial=(h, w, b))


def zero_mean(problem: Problem) -> Problem:
    h, w, b = problem.initial
    return replace(problem, initial=(h - h.mean(axis=1, keepdims=True), w, b))


def shaped(seed: int, classes: int, per_class: int, features: int, outputs: int) -> Problem:
    return random_problem(seed, classes=classes, per_class=per_class, features=features, outputs=outputs)


PROBLEMS = {
    "n < N": shaped(0, 3, 4, 5, 3),
    "n > N": shaped(1, 3, 4, 16, 3),
    "n = C + 1, one-hot": shaped(2, 3, 4, 4, 3),
    "outputs are not classes": shaped(3, 4, 3, 5, 2),
    "one sample a class": shaped(4, 4, 1, 3, 2),
    "low rank": low_rank(shaped(5, 3, 4, 6, 3)),
    "zero mean": zero_mean(shaped(7, 3, 5, 7, 3)),
}


def scatter(state: Arrays, classes: int) -> np.ndarray:
    h = state[0]
    by_class = h.reshape(len(h), classes, -1)
    away = (by_class - by_class.mean(axis=2, keepdims=True)).reshape(len(h), -1)
    return away @ away.T / by_class.shape[2]


def errors(flow: Any, states: list[Any], expected: list[Arrays], classes: int) -> float:
    """The largest relative difference in H₁, W, b and S; S relative to the features at the start."""
    worst = 0.0
    for state, arrays in zip(states, expected, strict=True):
        got = flow.class_state(state)
        means = arrays[0].reshape(len(arrays[0]), classes, -1).mean(axis=2)
        size = np.linalg.norm(expected[0][0]) ** 2
        difference = np.linalg.norm(np.asarray(got.within @ got.within.T) - scatter(arrays, classes)) / size
        pairs = [(got.class_means, means), (got.weight, arrays[1]), (got.bias, arrays[2])]
        worst = max(worst, difference, *(relative_difference(np.asarray(a), b) for a, b in pairs))
    return worst


FAST = ("n > N", "outputs are not classes", "low rank")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in PROBLEMS]
)
def test_every_representation_is_the_flow_of_the_paper(name: str) -> None:
    """DOP853 at 1e-13 on the printed equation and on each representation's vector field; nothing of Diffrax."""
    problem = PROBLEMS[name]
    expected = reference(problem)
    # Enough happens for a wrong term to show.
    assert relative_difference(flattened(expected[-1]), flattened(expected[0])) > 0.02
    scale = np.sum(invariant_sides(problem, problem.initial), axis=0)
    for representation in ("sample", "class", "invariant"):
        for samples in (True, False):
            flow, initial = represent(
                representation,
                problem.state,
                problem.kernel,
                loss_scale=problem.loss_scale,
                targets=jnp.asarray(problem.targets),
                samples=samples,
            )
            states = states_by_scipy(flow, initial, problem.times)
            assert errors(flow, states, expected, problem.classes) <= 1e-10, representation
            if samples or representation == "sample":
                for state, arrays in zip(states, expected, strict=True):
                    assert relative_difference(flattened(flow.sample_state(state)), flattened(arrays)) <= 1e-10
                drift = flow.invariants(states[-1])["E"] - flow.invariants(initial)["E"]
                assert np.linalg.norm(drift) <= 1e-11 * np.linalg.norm(scale)
            elif representation == "invariant":
                assert flow.invariants(states[-1]) == {}
                with pytest.raises(ValueError, match="does not carry single samples; ask for them with samples=True"):
                    flow.sample_state(states[-1])
            if representation == "invariant" and problem.per_class > 1:
                # Its own S, its own norms.
                v = flow.frame.directions
                back = np.asarray(v @ flow.scatter(states[-1]) @ v.T)
                size = np.linalg.norm(scatter(expected[0], problem.classes))
                assert np.linalg.norm(back - scatter(expected[-1], problem.classes)) <= 1e-10 * size
            whole = represent("sample", problem.state, problem.kernel, loss_scale=1.0, targets=flow.targets)[0]
            norms = whole.residual_norms(SampleState(*map(jnp.asarray, expected[-1])))
            allowed = 1e-7 if representation == "invariant" and not samples else 1e-10
            assert float(jnp.abs(flow.residual_norms(states[-1]) - norms).max()) <= allowed * float(norms.max())


SMALL = PROBLEMS["n < N"]
LONG = jnp.asarray(SMALL.times) * 300


@pytest.fixture(scope="module")
def long_runs() -> dict[tuple[str, bool], Any]:
    """Until the residual is nearly gone."""
    runs = {}
    for representation, samples in [("sample", True), ("class", True), ("invariant", True), ("invariant", False)]:
        flow, initial = represent(
            representation, SMALL.state, SMALL.kernel, loss_scale=SMALL.loss_scale, samples=samples
        )
        runs[representation, samples] = solve(flow, initial, LONG)
    return runs


@pytest.mark.slow
def test_representations_agree_over_a_long_run(long_runs: dict[tuple[str, bool], Any]) -> None:
    expected = reference(replace(SMALL, end=300 * SMALL.end))
    start = float(long_runs["sample", True].losses[0])
    for key, run in long_runs.items():
        assert float(run.losses[-1]) <= 1e-4 * start
        states = [run.state_at(index) for index in range(5)]
        assert errors(run.flow, states, expected, SMALL.classes) <= 1e-8, key


def test_drift_of_the_invariant_over_a_long_run(long_runs: dict[tuple[str, bool], Any]) -> None:
    scale = float(InvariantSides.of(SMALL.state, SMALL.kernel).scale)
    for key in [("sample", True), ("class", True), ("invariant", True)]:
        e = np.asarray(long_runs[key].invariants["E"])
        assert np.linalg.norm(e - e[0], axis=(1, 2)).max() <= 1e-10 * scale, key
    # Not that nothing moves: one of the sides does.
    first, last = (InvariantSides.of(long_runs["sample", True].state_at(i), SMALL.kernel) for i in (0, -1))
    assert float(jnp.linalg.norm(last.weight_side - first.weight_side)) > 0.01 * scale


def test_the_scatter_of_the_invariant_stays_one(long_runs: dict[tuple[str, bool], Any]) -> None:
    """Symmetric; positive semi-definite up to 1e-12‖W‖² at every saved time, at a tolerance of 1e-10."""
    run = long_runs["invariant", False]
    for index in range(5):
        state = run.state_at(index)
        s = np.asarray(run.flow.scatter(state))
        size = float(jnp.linalg.norm(state.weight)) ** 2
        assert np.abs(s - s.T).max() <= 1e-15 * size
        assert np.linalg.eigvalsh(s).min() >= -1e-12 * size
        # The trace of WSWᵀ is what the within-class norm comes from.
        trace = np.trace(np.asarray(state.weight) @ s @ np.asarray(state.weight).T)
        assert abs(float(jnp.trace(run.flow.logit_scatter(state))) - trace) <= 1e-13 * size**2


@pytest.mark.slow
def test_without_samples_the_within_class_norm_is_no_better_than_the_root_of_the_tolerance() -> None:
    """At rtol = 1e-6 an error of the integration remains in S where S itself is gone. The class means do not suffer,
    and with F carried nothing does."""
    kernel = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=4)
    state = zero_invariant_state(jax.random.key(0), kernel, features=5)
    norms, smallest = {}, {}
    for samples in (True, False):
        flow, initial = InvariantFlow.starting_at(state, kernel, loss_scale=1.0, samples=samples)
        run = solve(flow, initial, jnp.linspace(0.0, 40.0, 5), Integration("rkc2", rtol=1e-6, atol=1e-9))
        norms[samples] = np.asarray(run.residual_norms)
        last = run.state_at(2)
        smallest[samples] = float(jnp.linalg.eigvalsh(flow.scatter(last))[0] / jnp.sum(last.weight**2))
    assert norms[True][-1, 2] <= 1e-8 * norms[True][0, 2]
    assert 1e-7 < norms[False][-1, 2] / norms[False][0, 2] <= 1e-3
    assert norms[False][-1, :2].max() <= 1e-7
    assert -1e-7 <= smallest[False] < -1e-10
    assert smallest[True] >= -1e-12


@pytest.mark.parametrize("weight_scale", [1e-2, 1.0, 1e2])
def test_cancellation(weight_scale: float) -> None:
    """S is a difference of larger numbers: what is left is rounding of μ_single‖WᵀW‖/m and of what it is compared with,
    whatever S itself is. So a scatter far below that is lost, and ‖WH₂‖ below √eps of its own scale cannot be told
    from 0."""
    eps, worst = np.finfo(float).eps, 0.0
    for seed in range(8):
        problem = shaped(seed, 3, 4, 6, 3)
        h, w, b = problem.initial
        means = np.repeat(h.reshape(6, 3, 4).mean(axis=2), 4, axis=1)
        h = means + 1e-6 * (h - means)
        state = SampleState(jnp.asarray(h), jnp.asarray(weight_scale * w), jnp.asarray(b))
        flow, initial = InvariantFlow.starting_at(state, problem.kernel, loss_scale=1.0, samples=True)
        known = initial.within @ initial.within.T
        sides = InvariantSides.of(state, problem.kernel)
        size = float(problem.kernel.lambda_single * sides.scale)
        error = float(jnp.linalg.norm(flow.scatter(initial) - known)) / size
        worst = max(worst, error)
        truth = float(jnp.sum((initial.weight @ initial.within) ** 2))
        left = abs(float(jnp.trace(flow.logit_scatter(initial))) - truth)
        assert left <= 20 * eps * size * float(jnp.linalg.norm(initial.weight)) ** 2
    # Rounding it is: neither none, nor more than some units of it.
    assert 0.1 * eps < worst <= 20 * eps


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((1.0, 1.0, 0.2), "mu_single > 0, not 0"),
        ((1.0, 1.5, 0.2), r"mu_single > 0, not -0\.5"),
        ((1.0, 0.5, 0.9), r"mu_class > 0, not -1\.1"),
        ((1.0, 0.0, -0.125), r"mu_global > 0, not 0"),  # 1 + 4/8 − 12/8: α is infinite
        ((float("nan"), 0.5, 0.1), "mu_single > 0, not nan"),
    ],
)
def test_kernels_without_an_invariant_are_refused(values: tuple[float, float, float], named: str) -> None:
    kernel = BlockKernel(*values, classes=3, per_class=4)
    with pytest.raises(ValueError, match=named) as error:
        InvariantFlow.starting_at(SMALL.state, kernel, loss_scale=1.0)
    assert "kernel values" in str(error.value)
    assert "integrate the class form instead" in str(error.value)


def test_targets_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"targets of 6 classes.* kernel of 3"):
        InvariantFlow.starting_at(SMALL.state, SMALL.kernel, loss_scale=1.0, targets=jnp.ones((3, 6)))


def test_all_directions_make_the_same_flow() -> None:
    """What vmap needs: the same slope in feature space, on a state that the default would compress."""
    problem = PROBLEMS["n > N"]
    slopes = []
    for every in (False, True):
        flow, initial = InvariantFlow.starting_at(
            problem.state, problem.kernel, loss_scale=2.0, targets=jnp.asarray(problem.targets), all_directions=every
        )
        slope = flow.vector_field(jnp.asarray(0.0), initial, None)
        v = flow.frame.directions
        slopes.append(jnp.concatenate([v @ slope.class_means, v @ slope.weight.T], axis=1))
        assert flow.eigenvalues.shape == ((16,) if every else (15,))
    assert relative_difference(slopes[1], slopes[0]) <= 1e-12


def test_derivatives_of_a_zero_invariant() -> None:
    """E = 0 has no eigenvectors to differentiate. The derivative of the slope by the state and by κ against that of the
    class form, in feature space."""
    kernel = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=4)
    state = zero_invariant_state(jax.random.key(0), kernel, features=5)
    through = jax.random.normal(jax.random.key(1), (3, 5))

    def value(kind: Any, kappa: jax.Array, state: SampleState) -> jax.Array:
        kernel = BlockKernel(kappa[0], kappa[1], kappa[2], classes=3, per_class=4)
        flow, initial = kind.starting_at(state, kernel, loss_scale=2.0, all_directions=True, samples=False)
        slope = flow.vector_field(jnp.asarray(0.0), initial, None)
        return jnp.sum(through * (slope.weight @ flow.frame.directions.T))

    def gradient(kind: Any) -> tuple[np.ndarray, np.ndarray]:
        by_kappa, by_state = jax.jit(jax.grad(lambda k, s: value(kind, k, s), argnums=(0, 1)))(kappa, state)
        return np.asarray(by_kappa), flattened(by_state)

    kappa = jnp.asarray([1.9, 1.2, 0.4])
    ours, expected = gradient(InvariantFlow), gradient(ClassFlow)
    assert np.linalg.norm(expected[1]) > 0.1
    assert relative_difference(ours[1], expected[1]) <= 1e-11
    assert np.abs(ours[0] - expected[0]).max() <= 1e-11


def test_a_run_keeps_the_class_form_s_within_factor(long_runs: dict[tuple[str, bool], Any]) -> None:
    """Where F is not carried, class_state gives a square root of S: F itself up to a rotation of its columns."""
    carried, without = long_runs["invariant", True], long_runs["invariant", False]
    for index in (0, 2):
        one, other = (run.flow.class_state(run.state_at(index)) for run in (carried, without))
        assert isinstance(one, ClassState)
        gap = float(jnp.linalg.norm(one.within @ one.within.T - other.within @ other.within.T))
        assert gap <= 1e-8 * float(jnp.linalg.norm(one.class_means)) ** 2


def test_integrate_takes_no_method_that_is_not_chosen_yet() -> None:
    flow, initial = InvariantFlow.starting_at(SMALL.state, SMALL.kernel, loss_scale=1.0)
    with pytest.raises(ValueError, match="the method is auto"):
        integrate(flow, initial, LONG, Integration("auto"))
