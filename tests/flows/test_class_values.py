"""Values of their own for every class and pair of classes, against the whole N×N kernel."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.full_kernel import FullProblem, assert_agrees, for_each_feature, random_start, spread
from flows.lowering import lower_for_cuda
from kernels.class_matrix import class_matrix
from kernels.dense import relative_difference

from ntkflow.flows import ClassState, ClassValuesFlow, UnequalClassFlow, solve
from ntkflow.kernels import ClassBlockKernel

SIZES = (3, 5, 1)
LABELS = np.repeat(np.arange(3), SIZES)
N_FEATURES = 2
Values = tuple[np.ndarray, np.ndarray]


def random_values(generator: np.random.Generator) -> Values:
    root = generator.standard_normal((3, 3)) / np.sqrt(3)
    pairs = root @ root.T + 0.1 * np.eye(3)
    return np.diag(pairs) + generator.uniform(0.2, 1.5, 3), pairs


def flow_of(values: Values, targets: np.ndarray) -> ClassValuesFlow:
    kernel = ClassBlockKernel(*map(jnp.asarray, values), sizes=SIZES)
    return ClassValuesFlow(kernel, loss_scale=3.0, targets=jnp.asarray(targets))


@pytest.mark.parametrize("seed", range(3))
def test_against_scipy_on_the_whole_kernel(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values, targets = random_values(generator), generator.standard_normal((3, 3))
    kernel = class_matrix(*values, LABELS)
    start = random_start(generator, features=N_FEATURES, samples=len(LABELS), outputs=3)
    problem = FullProblem(for_each_feature(kernel, N_FEATURES), targets[:, LABELS], 3.0, start, end=1.5)
    flow = flow_of(values, targets)
    states = solve(flow, flow.initial(problem.state), jnp.asarray(problem.times)).states
    seen = assert_agrees(problem, flow, states, LABELS)
    h, w, _ = problem.initial
    sides = w.T @ w / 3, h @ np.linalg.solve(kernel, h.T) / 3  # N/C = 3
    scale = np.linalg.norm(sides[0]) + np.linalg.norm(sides[1])
    assert np.linalg.norm(seen["E"][0] - (sides[0] - sides[1])) <= 1e-13 * scale
    assert spread(seen["E"]) <= 1e-10 * scale
    # The invariant of one common value, in its place, is none.
    common = float(np.mean(np.asarray(flow.kernel.lambda_single)[:2]))
    within = jnp.einsum("tpj,tqj->tpq", states.within, states.within)
    other = seen["E"] + np.asarray(
        jnp.einsum("tpj,j,tqj->tpq", states.within, 1 / flow.column_rates(12), states.within) - within / common
    )
    assert spread(other) >= 1e-3 * scale


def test_equal_values_are_the_flow_of_unequal_classes() -> None:
    generator = np.random.default_rng(3)
    targets = generator.standard_normal((3, 3))
    one = UnequalClassFlow(1.6, 0.9, 0.2, sizes=SIZES, loss_scale=3.0, targets=jnp.asarray(targets))
    each = flow_of((np.full(3, 1.6), 0.2 + 0.7 * np.eye(3)), targets)
    state = started(one, generator)

    @eqx.filter_jit
    def said(flow: ClassValuesFlow | UnequalClassFlow) -> list:
        velocity = flow.vector_field(jnp.asarray(0.0), state, None)
        return [*jax.tree.leaves(velocity), flow.residual_norms(state), flow.invariants(state)["E"]]

    for ours, theirs in zip(said(each), said(one), strict=True):
        assert relative_difference(ours, theirs) <= 1e-14


def started(flow: ClassValuesFlow | UnequalClassFlow, generator: np.random.Generator, **options: bool) -> ClassState:
    start = random_start(generator, features=N_FEATURES, samples=len(LABELS), outputs=3)
    return flow.initial(FullProblem(np.zeros(0), np.zeros(0), 1.0, start, end=1.0).state, **options)


def test_without_single_samples_every_class_keeps_its_scatter() -> None:
    flow = flow_of(random_values(np.random.default_rng(4)), np.eye(3))
    full = started(flow, np.random.default_rng(5))
    short = started(flow, np.random.default_rng(5), samples=False)
    assert full.within.shape == (2, 12)
    assert short.within.shape == (2, 6)
    for c in range(3):
        a, b = full.within[:, 4 * c : 4 * c + 4], short.within[:, 2 * c : 2 * c + 2]
        assert relative_difference(b @ b.T, a @ a.T) <= 1e-14
    field = eqx.filter_jit(lambda state: flow.vector_field(jnp.asarray(0.0), state, None))
    a, b = field(full), field(short)
    for name in ("class_means", "weight", "bias"):
        assert relative_difference(getattr(b, name), getattr(a, name)) <= 1e-13
    of_full, of_short = a.within @ full.within.T, b.within @ short.within.T
    assert relative_difference(of_short + of_short.T, of_full + of_full.T) <= 1e-13
    with pytest.raises(ValueError, match="single samples are not carried"):
        flow.residual(short)


def test_bad_input_is_refused() -> None:
    values = random_values(np.random.default_rng(6))
    with pytest.raises(ValueError, match="targets of 2 classes"):
        flow_of(values, np.ones((3, 2)))
    flow = flow_of(values, np.eye(3))
    state = started(flow, np.random.default_rng(7))
    ragged = eqx.tree_at(lambda state: state.within, state, state.within[:, :7])
    with pytest.raises(ValueError, match="7 columns cannot be cut into 3 equal groups"):
        flow.vector_field(jnp.asarray(0.0), ragged, None)
    diagonal, pairs = values
    low = diagonal.copy()
    low[1] = pairs[1, 1] - 0.25
    crossed = pairs.copy()
    crossed[0, 2] = crossed[2, 0] = 9.0
    cases = (((low, pairs), "kappa_d - kappa_c of class 1 is -0.25"), ((diagonal, crossed), "smallest eigenvalue"))
    for bad, message in cases:
        indefinite = flow_of(bad, np.eye(3))
        assert indefinite.invariants(state) == {}
        with pytest.raises(ValueError, match=message):
            indefinite.invariant_sides(state)


def test_a_class_of_one_sample_may_have_any_value_within_it() -> None:
    """There is no pair in it: κ_c has no effect, not even where it makes κ_d − κ_c negative."""
    diagonal, pairs = random_values(np.random.default_rng(8))
    other = pairs.copy()
    other[2, 2] = diagonal[2] + 1.0
    flows = [flow_of((diagonal, pairs), np.eye(3)), flow_of((diagonal, other), np.eye(3))]
    state = started(flows[0], np.random.default_rng(9))
    field = eqx.filter_jit(lambda flow: flow.vector_field(jnp.asarray(0.0), state, None))
    for ours, theirs in zip(*(jax.tree.leaves(field(flow)) for flow in flows), strict=True):
        assert relative_difference(ours, theirs) <= 1e-13
    assert relative_difference(flows[1].invariants(state)["E"], flows[0].invariants(state)["E"]) <= 1e-13


def test_a_kernel_that_is_not_known_yet() -> None:
    """Flows of many kernels at once, under vmap: nothing is checked there, and E is as it is outside."""
    values = [random_values(np.random.default_rng(seed)) for seed in range(2)]
    state = started(flow_of(values[0], np.eye(3)), np.random.default_rng(9))

    def invariant(diagonal: jax.Array, pairs: jax.Array) -> jax.Array:
        flow = ClassValuesFlow(ClassBlockKernel(diagonal, pairs, sizes=SIZES), loss_scale=3.0)
        return flow.invariants(state)["E"]

    together = jax.vmap(invariant)(*(jnp.asarray(np.stack(part)) for part in zip(*values, strict=True)))
    for index, one in enumerate(values):
        assert relative_difference(together[index], flow_of(one, np.eye(3)).invariants(state)["E"]) <= 1e-12


def test_lowers_for_cuda() -> None:
    flow = flow_of(random_values(np.random.default_rng(0)), np.eye(3))
    state = started(flow, np.random.default_rng(1), samples=False)
    text = lower_for_cuda(lambda flow, state: flow.vector_field(jnp.asarray(0.0), state, None), flow, state)
    assert "stablehlo" in text
    lower_for_cuda(lambda flow, state: flow.invariants(state), flow, state)
