"""Classes of unequal sizes against the whole N×N kernel, and against the class flow where the sizes are equal."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from flows.full_kernel import FullProblem, assert_agrees, for_each_feature, observe, random_start, spread
from flows.lowering import lower_for_cuda
from flows.paper_equations import flattened, random_problem
from kernels.class_matrix import class_matrix
from kernels.dense import relative_difference

from ntkflow.flows import ClassFlow, ClassState, InvariantSides, UnequalClassFlow, solve

SIZES = (2, 6, 1, 4)
LABELS = np.repeat(np.arange(4), SIZES)
KAPPA = (1.7, 0.9, 0.3)
OUTPUTS, N_FEATURES = 3, 4


def flow_and_problem(seed: int, *, loss_scale: float = 5.0) -> tuple[UnequalClassFlow, FullProblem]:
    generator = np.random.default_rng(seed)
    targets = generator.standard_normal((OUTPUTS, 4))
    d, c, n = KAPPA
    kernel = class_matrix(np.full(4, d), n + (c - n) * np.eye(4), LABELS)
    start = random_start(generator, features=N_FEATURES, samples=len(LABELS), outputs=OUTPUTS)
    theta = for_each_feature(kernel, N_FEATURES)
    problem = FullProblem(theta, targets[:, LABELS], loss_scale, start, end=1.5)
    return UnequalClassFlow(*KAPPA, sizes=SIZES, loss_scale=loss_scale, targets=jnp.asarray(targets)), problem


@pytest.mark.parametrize("seed", range(3))
def test_against_scipy_on_the_whole_kernel(seed: int) -> None:
    flow, problem = flow_and_problem(seed)
    states = solve(flow, flow.initial(problem.state), jnp.asarray(problem.times)).states
    seen = assert_agrees(problem, flow, states, LABELS)
    # E from its definition on the samples, at the start; and it stays.
    h, w, _ = problem.initial
    kernel = class_matrix(np.full(4, KAPPA[0]), KAPPA[2] + (KAPPA[1] - KAPPA[2]) * np.eye(4), LABELS)
    sides = w.T @ w, h @ np.linalg.solve(kernel, h.T)
    mean_size = len(LABELS) / 4
    scale = (np.linalg.norm(sides[0]) + np.linalg.norm(sides[1])) / mean_size
    assert np.linalg.norm(seen["E"][0] - (sides[0] - sides[1]) / mean_size) <= 1e-13 * scale
    assert spread(seen["E"]) <= 1e-10 * scale


def test_equal_sizes_are_the_class_flow() -> None:
    problem = random_problem(3, classes=3, per_class=4, features=5, outputs=2)
    options = {"loss_scale": problem.loss_scale, "targets": jnp.asarray(problem.targets)}
    ours = UnequalClassFlow(*problem.kappa, sizes=(4, 4, 4), **options)
    theirs = ClassFlow(problem.kernel, **options)
    state = ClassState.from_sample(problem.state, 3)
    inside = ours.initial(problem.state)
    for name in ("class_means", "within", "weight", "bias"):
        assert relative_difference(getattr(inside, name), getattr(state, name)) <= 1e-14
    field = eqx.filter_jit(lambda flow: flow.vector_field(jnp.asarray(0.0), state, None))
    a, b = field(ours), field(theirs)
    for name in ("class_means", "within", "weight", "bias"):
        assert relative_difference(getattr(a, name), getattr(b, name)) <= 1e-13
    assert relative_difference(ours.residual_norms(state), theirs.residual_norms(state)) <= 1e-13
    sides = InvariantSides.of(state, problem.kernel)
    assert float(jnp.linalg.norm(ours.invariants(state)["E"] - sides.invariant)) <= 1e-13 * float(sides.scale)


def test_without_single_samples_nothing_depends_on_their_number() -> None:
    flow, problem = flow_and_problem(5)
    full, short = flow.initial(problem.state), flow.initial(problem.state, samples=False)
    assert full.within.shape == (N_FEATURES, 4 * 5)
    assert short.within.shape == (N_FEATURES, N_FEATURES)
    assert relative_difference(flattened(flow.sample_state(full)), flattened(problem.state)) <= 1e-14

    @eqx.filter_jit
    def said(flow: UnequalClassFlow, state: ClassState) -> list:
        velocity = flow.vector_field(jnp.asarray(0.0), state, None)
        scatter_rate = velocity.within @ state.within.T
        return [
            velocity.class_means,
            velocity.weight,
            velocity.bias,
            scatter_rate + scatter_rate.T,
            flow.residual_norms(state),
            flow.loss(state),
            flow.invariants(state)["E"],
        ]

    for ours, theirs in zip(said(flow, short), said(flow, full), strict=True):
        assert relative_difference(ours, theirs) <= 1e-13
    with pytest.raises(ValueError, match="single samples are not carried"):
        flow.residual(short)


def test_every_sample_counts_once_in_the_norms() -> None:
    """The three norms are orthogonal parts of R, with the mean over samples and not over classes."""
    flow, problem = flow_and_problem(6)
    seen = observe(flow, eqx.filter_vmap(lambda _: flow.initial(problem.state))(jnp.zeros(1)))
    r = np.asarray(seen["residual"][0])
    assert abs(np.sum(np.asarray(seen["norms"][0]) ** 2) / np.sum(r**2) - 1) <= 1e-13
    assert abs(float(seen["norms"][0][0]) - np.sqrt(13) * np.linalg.norm(r.mean(axis=1))) <= 1e-12
    of_classes = np.stack([r[:, label == LABELS].mean(axis=1) for label in range(4)]).mean(axis=0)
    assert abs(float(seen["norms"][0][0]) - np.sqrt(13) * np.linalg.norm(of_classes)) > 1e-2


def test_bad_input_is_refused() -> None:
    options = {"loss_scale": 1.0}
    with pytest.raises(ValueError, match=r"size of at least 1, not \[2, 0\]"):
        UnequalClassFlow(*KAPPA, sizes=(2, 0), **options)
    with pytest.raises(ValueError, match="targets of 3 classes"):
        UnequalClassFlow(*KAPPA, sizes=(2, 3), targets=jnp.eye(3), **options)
    flow, problem = flow_and_problem(0)
    other = UnequalClassFlow(*KAPPA, sizes=(2, 6, 1, 5), **options)
    with pytest.raises(ValueError, match="add up to 14, not to 13"):
        other.initial(problem.state)
    state = flow.initial(problem.state)
    for kappa, message in (((1.0, 1.5, 0.1), "kappa_d - kappa_c of class 0 is -0.5"), ((1.0, 0.9, 2.0), "eigenvalue")):
        indefinite = UnequalClassFlow(*kappa, sizes=SIZES, **options)
        assert indefinite.invariants(state) == {}
        with pytest.raises(ValueError, match=message):
            indefinite.invariant_sides(state)


def test_lowers_for_cuda() -> None:
    flow, problem = flow_and_problem(0)
    state = flow.initial(problem.state, samples=False)
    text = lower_for_cuda(lambda flow, state: flow.vector_field(jnp.asarray(0.0), state, None), flow, state)
    assert "stablehlo" in text
    lower_for_cuda(lambda flow, state: flow.invariants(state), flow, state)
    lower_for_cuda(lambda flow, sample: flow.initial(sample, samples=False), flow, problem.state)
