"""Matrix-valued block values against the whole (nN)×(nN) kernel, and what they conserve."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.full_kernel import FullProblem, assert_agrees, random_start, spread
from flows.lowering import lower_for_cuda
from flows.paper_equations import flattened, random_problem
from kernels.dense import relative_difference

from ntkflow.flows import ClassFlow, ClassState, InvariantSides, MatrixBlockFlow, SampleState, solve
from ntkflow.kernels import MatrixBlockKernel

C, M, N_FEATURES = 3, 4, 5
LABELS = np.arange(C * M) // M


def positive(generator: np.random.Generator, n: int) -> np.ndarray:
    root = generator.standard_normal((n, n)) / np.sqrt(n)
    return root @ root.T + 0.1 * np.eye(n)


def whole(blocks: tuple[np.ndarray, ...], labels: np.ndarray) -> np.ndarray:
    """Θʰ of (71), pair of samples by pair of samples."""
    own, same, everywhere = blocks
    theta = np.zeros((len(own), len(labels), len(own), len(labels)))
    for j in range(len(labels)):
        for i in range(len(labels)):
            theta[:, j, :, i] = everywhere + (labels[i] == labels[j]) * same + (i == j) * own
    return theta


def kernel_of(blocks: tuple[np.ndarray, ...], classes: int, per_class: int) -> MatrixBlockKernel:
    return MatrixBlockKernel(*map(jnp.asarray, blocks), classes=classes, per_class=per_class)


def generic_flow(
    generator: np.random.Generator, targets: np.ndarray, **options: float
) -> tuple[MatrixBlockFlow, tuple]:
    blocks = tuple(positive(generator, N_FEATURES) for _ in range(3))
    return MatrixBlockFlow(kernel_of(blocks, C, M), targets=jnp.asarray(targets), **options), blocks


@pytest.mark.parametrize("seed", range(3))
def test_against_scipy_on_the_whole_kernel(seed: int) -> None:
    generator = np.random.default_rng(seed)
    targets = np.eye(C) if seed == 0 else generator.standard_normal((C, C))
    flow, blocks = generic_flow(generator, targets, loss_scale=7.0)
    start = random_start(generator, features=N_FEATURES, samples=C * M, outputs=C)
    problem = FullProblem(whole(blocks, LABELS), targets[:, LABELS], 7.0, start, end=2.0)
    states = solve(flow, ClassState.from_sample(problem.state, C), jnp.asarray(problem.times)).states
    seen = assert_agrees(problem, flow, states, LABELS)
    # Matrices without a common invariant subspace: one number is conserved, and it is; the rest of E is not.
    assert flow.commutant.dimension == 1
    sides = eqx.filter_jit(jax.vmap(flow.unprojected))(states)
    scale = np.linalg.norm(sides.weight_side[0]) + np.linalg.norm(sides.feature_side[0])
    assert spread(seen["E"]) <= 1e-10 * scale
    assert spread(np.asarray(sides.weight_side - sides.feature_side)) >= 1e-3 * scale


def test_fewer_columns_are_the_same_flow() -> None:
    """Of the within-class part only the scatter and products from the left matter."""
    generator = np.random.default_rng(4)
    flow, _ = generic_flow(generator, np.eye(C), loss_scale=2.0)
    start = random_start(generator, features=N_FEATURES, samples=C * M, outputs=C)
    sample = SampleState(*map(jnp.asarray, start))
    shorter, inside = MatrixBlockFlow.starting_at(sample, flow.kernel, loss_scale=2.0)
    assert inside.within.shape == (N_FEATURES, N_FEATURES)
    assert relative_difference(flattened(shorter.sample_state(inside)), flattened(sample)) <= 1e-14
    field = eqx.filter_jit(lambda flow, state: flow.sample_state(flow.vector_field(jnp.asarray(0.0), state, None)))
    # The samples are linear in the state, so the map from state to samples maps velocities too.
    velocity = flattened(field(flow, ClassState.from_sample(sample, C)))
    assert relative_difference(flattened(field(shorter, inside)), velocity) <= 1e-13


def test_multiples_of_the_identity_are_the_class_flow() -> None:
    problem = random_problem(3, classes=C, per_class=M, features=N_FEATURES, outputs=2)
    options = {"loss_scale": problem.loss_scale, "targets": jnp.asarray(problem.targets)}
    state = ClassState.from_sample(problem.state, C)
    scalar = ClassFlow(problem.kernel, **options)
    matrix = MatrixBlockFlow(MatrixBlockKernel.from_block(problem.kernel, N_FEATURES), **options)
    field = eqx.filter_jit(lambda flow: jax.tree.leaves(flow.vector_field(jnp.asarray(0.0), state, None)))
    for ours, theirs in zip(field(matrix), field(scalar), strict=True):
        assert relative_difference(ours, theirs) <= 1e-13
    assert matrix.commutant.dimension == N_FEATURES * (N_FEATURES + 1) // 2
    sides = InvariantSides.of(state, problem.kernel)
    assert float(jnp.linalg.norm(matrix.invariants(state)["E"] - sides.invariant)) <= 1e-12 * float(sides.scale)
    assert abs(float(matrix.unprojected(state).alignment) - float(sides.alignment)) <= 1e-12
    assert relative_difference(matrix.residual_norms(state), scalar.residual_norms(state)) <= 1e-14


def families() -> dict[str, tuple[tuple[np.ndarray, ...], int]]:
    """Matrices, and how many quadratic quantities they conserve: symmetric matrices that commute with all three."""
    generator = np.random.default_rng(1)
    p, q, r = (positive(generator, 3) for _ in range(3))
    turn = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    diagonal = tuple(turn @ np.diag(generator.uniform(0.2, 1, 3)) @ turn.T for _ in range(3))
    double = tuple(turn @ np.diag(values) @ turn.T for values in ([0.5, 0.5, 0.9], [0.3, 0.3, 0.7], [0.1, 0.1, 0.4]))
    two = [positive(generator, 2) for _ in range(3)]
    reducible = tuple(turn @ np.block([[a, np.zeros((2, 1))], [np.zeros((1, 2)), 0.7]]) @ turn.T for a in two)
    eye = np.eye(3)
    return {
        "multiples of the identity": ((0.5 * eye, 0.3 * eye, 0.2 * eye), 6),
        "nothing in common": ((p, q, r), 1),
        "multiples of one matrix": ((p, 0.5 * p, 0.2 * p), 3),
        "commuting": (diagonal, 3),
        "commuting, a double eigenvalue": (double, 4),
        "a plane and a line": (reducible, 2),
    }


def conserved_polynomials(blocks: tuple[np.ndarray, ...], classes: int, per_class: int) -> int:
    """The dimension of all polynomials of degree 1 and 2 in (W, H, b) that the flow conserves: the null space of their
    time derivatives at random states."""
    labels, n = np.arange(classes * per_class) // per_class, len(blocks[0])
    theta = whole(blocks, labels).reshape(n * len(labels), -1)
    columns = np.eye(classes)[:, labels]
    generator = np.random.default_rng(0)
    size = classes * n + n * len(labels) + classes
    pairs = np.triu_indices(size)
    rates = []
    for _ in range(len(pairs[0]) + size + 40):
        h, w, b = random_start(generator, features=n, samples=len(labels), outputs=classes)
        r = w @ h + b[:, None] - columns
        x = np.concatenate([w.ravel(), h.ravel(), b])
        velocity = -np.concatenate([(r @ h.T).ravel(), theta @ (w.T @ r).ravel(), r.sum(axis=1)])
        products = np.outer(x, velocity)
        row = np.concatenate([(products + products.T)[pairs], velocity])
        rates.append(row / np.linalg.norm(row))
    singular = np.linalg.svd(np.array(rates), compute_uv=False)
    small = singular < 1e-10 * singular[0]
    # No doubt about which are zero.
    assert singular[~small].min() > 1e-6 * singular[0]
    return int(small.sum())


@pytest.mark.parametrize("name", families())
def test_all_that_is_conserved(name: str) -> None:
    """As many as the commutant says, counted without it; and the projection of E on it is conserved."""
    blocks, expected = families()[name]
    flow = MatrixBlockFlow(kernel_of(blocks, 2, 2), loss_scale=3.0)
    assert flow.commutant.dimension == expected
    assert flow.commutant.complete
    assert conserved_polynomials(blocks, 2, 2) == expected
    assert rate_of_invariant(flow, 3) <= 1e-13


def rate_of_invariant(flow: MatrixBlockFlow, n: int) -> float:
    """The rate of E at a random state, relative to the velocity and to the sides of E."""
    generator = np.random.default_rng(5)
    kernel = flow.kernel
    start = random_start(generator, features=n, samples=kernel.samples, outputs=kernel.classes)
    state = SampleState(*map(jnp.asarray, start))
    return float(_relative_rate(flow, state))


@eqx.filter_jit
def _relative_rate(flow: MatrixBlockFlow, sample: SampleState) -> jax.Array:
    state = ClassState.from_sample(sample, flow.kernel.classes)
    velocity = flow.vector_field(jnp.asarray(0.0), state, None)
    _, rate = jax.jvp(lambda state: flow.invariants(state)["E"], (state,), (velocity,))
    _, of_weights = jax.jvp(lambda state: flow.unprojected(state).weight_side, (state,), (velocity,))
    return jnp.linalg.norm(rate) / jnp.linalg.norm(of_weights)


def test_directions_without_a_positive_kernel_have_no_invariant() -> None:
    """A_d = 0 in one direction: E there is left out, and the rest stays conserved."""
    blocks = (np.diag([0.0, 0.5, 0.9]), np.diag([0.3, 0.2, 0.1]), 0.1 * np.eye(3))
    flow = MatrixBlockFlow(kernel_of(blocks, 2, 2), loss_scale=1.0)
    assert flow.commutant.dimension == 2
    assert rate_of_invariant(flow, 3) <= 1e-13
    # With one sample a class A_d acts within no class, and A_d + A_c is what counts.
    assert MatrixBlockFlow(kernel_of(blocks, 2, 1), loss_scale=1.0).commutant.dimension == 3
    nothing = MatrixBlockFlow(kernel_of((np.zeros((3, 3)), *blocks[1:]), 2, 2), loss_scale=1.0)
    state = ClassState.from_sample(SampleState(jnp.ones((3, 4)), jnp.ones((2, 3)), jnp.zeros(2)), 2)
    assert nothing.invariants(state) == {}
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(nothing))


def test_repeated_blocks_that_do_not_commute_are_said_to_be_counted_in_part() -> None:
    generator = np.random.default_rng(2)
    blocks = tuple(np.kron(positive(generator, 2), np.eye(2)) for _ in range(3))
    flow = MatrixBlockFlow(kernel_of(blocks, 2, 2), loss_scale=1.0)
    assert not flow.commutant.complete
    # I ⊗ B commutes for each of the three B; the identity alone is counted.
    assert flow.commutant.dimension == 1
    assert rate_of_invariant(flow, 4) <= 1e-13


def centred_start(bias: float, mean: float) -> ClassState:
    """Features and rows of W in the first three of five directions, W's rows of sum zero as in Theorem 5.2."""
    generator = np.random.default_rng(7)
    means, within = np.zeros((5, C)), np.zeros((5, C * (M - 1)))
    means[:3] = generator.standard_normal((3, C))
    means -= means.mean(axis=1, keepdims=True)
    means[0] += mean
    within[:3] = generator.standard_normal((3, C * (M - 1))) / 2
    weight = np.zeros((C, 5))
    weight[:, :3] = generator.standard_normal((C, 3))
    return ClassState(*map(jnp.asarray, (means, within, weight, np.full(C, bias))))


def test_assumption_d2_conserves_e_only_where_a_n_never_acts() -> None:
    """A_c and A_d as in (79), with N_c and N_d that W and H do not see; A_n any. E of (26) stays while H₁1 = 0, which
    needs b = 1/C, and then A_n multiplies 0."""
    generator = np.random.default_rng(8)
    unseen = np.diag([0.0, 0.0, 0.0, 1.0, 1.0])
    n_c, n_d = (unseen @ positive(generator, 5) @ unseen for _ in range(2))
    a_n = positive(generator, 5)
    blocks = (0.6 * np.eye(5) + n_d, 0.3 * np.eye(5) + n_c, a_n)
    # In the place of another kernel, so that what was compiled for test_against_scipy serves here.
    other, _ = generic_flow(generator, np.eye(C), loss_scale=12.0)
    flow = eqx.tree_at(lambda flow: flow.kernel, other, kernel_of(blocks, C, M))
    field = eqx.filter_jit(lambda flow, state: flow.vector_field(jnp.asarray(0.0), state, None).class_means)
    times = jnp.linspace(0.0, 6.0, 4)

    def drift(state: ClassState) -> float:
        states = jax.tree.map(np.asarray, solve(flow, state, times).states)
        weights, means, within = (
            np.einsum(path, array, array)
            for path, array in (
                ("tkp,tkq->tpq", states.weight),
                ("tpc,tqc->tpq", states.class_means),
                ("tpc,tqc->tpq", states.within),
            )
        )
        return spread(weights / M - means / 1.8 - within / 0.6) / float(np.linalg.norm(weights[0] / M))

    good = centred_start(1 / C, 0.0)
    assert drift(good) <= 1e-10
    without = eqx.tree_at(lambda flow: flow.kernel.everywhere, flow, jnp.zeros((5, 5)))
    assert relative_difference(field(flow, good), field(without, good)) <= 1e-13
    assert drift(centred_start(0.0, 0.0)) >= 1e-2  # ⟨h⟩ = 0 at the start only
    assert drift(centred_start(1 / C, 0.5)) >= 1e-2  # ⟨h⟩ ≠ 0


def test_bad_input_is_refused() -> None:
    eye = jnp.eye(3)
    with pytest.raises(ValueError, match="A_c is not symmetric"):
        MatrixBlockKernel(eye, eye.at[0, 1].set(0.1), eye, classes=2, per_class=2)
    with pytest.raises(ValueError, match="A_n must be 3 x 3"):
        MatrixBlockKernel(eye, eye, jnp.eye(4), classes=2, per_class=2)
    with pytest.raises(ValueError, match="A_d must be 3 x 3"):
        MatrixBlockKernel(jnp.ones((3, 2)), eye, eye, classes=2, per_class=2)
    with pytest.raises(ValueError, match="per_class >= 1"):
        MatrixBlockKernel(eye, eye, eye, classes=2, per_class=0)
    kernel = MatrixBlockKernel(eye, eye, eye, classes=2, per_class=2)
    with pytest.raises(ValueError, match="targets of 3 classes"):
        MatrixBlockFlow(kernel, loss_scale=1.0, targets=jnp.eye(3))


def test_single_samples_that_were_given_up_are_not_made_up() -> None:
    kernel = kernel_of((np.eye(2), np.eye(2), np.eye(2)), C, M)
    start = SampleState(jnp.ones((2, C * M)), jnp.ones((C, 2)), jnp.zeros(C))
    flow, state = MatrixBlockFlow.starting_at(start, kernel, loss_scale=1.0, samples=False)
    with pytest.raises(ValueError, match="single samples were not kept"):
        flow.residual(state)


def test_lowers_for_cuda() -> None:
    generator = np.random.default_rng(0)
    kernel = kernel_of(tuple(positive(generator, 3) for _ in range(3)), C, M)
    start = random_start(generator, features=3, samples=C * M, outputs=C)
    flow, state = MatrixBlockFlow.starting_at(SampleState(*map(jnp.asarray, start)), kernel, loss_scale=1.0)
    text = lower_for_cuda(lambda flow, state: flow.vector_field(jnp.asarray(0.0), state, None), flow, state)
    assert "stablehlo" in text
    assert "stablehlo" in lower_for_cuda(lambda flow, state: flow.invariants(state), flow, state)
