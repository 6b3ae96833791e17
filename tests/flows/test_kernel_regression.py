"""Kernel regression in closed form: against its differential equation, matrix exponentials, exact limits, and a
linearised network that is trained."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from hypothesis import given
from hypothesis import strategies as st
from kernels.dense import block_matrix, relative_difference
from scipy.linalg import expm
from sklearn.datasets import load_digits

from ntkflow.flows import (
    AbstractKernelModes,
    BlockModes,
    DenseModes,
    KernelRegressionFlow,
    RegressionOutputs,
    solve,
)
from ntkflow.kernels import BlockKernel
from ntkflow.networks import MLP

OUTPUTS, SAMPLES, TEST, Z = 2, 6, 4, 3.0
TIMES = np.array([0.0, 0.3, 1.0, 4.0, 20.0])


def psd(rank: int, size: int, extra: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A p.s.d. matrix of that rank, and rows of the same kernel to further points."""
    features = np.random.default_rng(seed).standard_normal((size + extra, rank)) / np.sqrt(rank)
    return features[:size] @ features[:size].T, features[size:] @ features[:size].T


def coupled(rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The same over pairs (output, sample), outputs not exchangeable."""
    features = np.random.default_rng(1).standard_normal((OUTPUTS, SAMPLES + TEST, rank)) / np.sqrt(rank)
    whole = np.einsum("kip,sjp->kisj", features, features)
    return whole[:, :SAMPLES, :, :SAMPLES], whole[:, SAMPLES:, :, :SAMPLES]


def block_rows() -> np.ndarray:
    """Rows of a block kernel to test samples of classes 0, 1, 2, 0: κ_c on the own class, κ_n elsewhere."""
    return np.where(np.arange(6)[None, :] // 2 == np.array([0, 1, 2, 0])[:, None], 1.2, 0.4)


def arrays(seed: int = 2) -> tuple[np.ndarray, RegressionOutputs]:
    generator = np.random.default_rng(seed)
    shapes = (OUTPUTS, SAMPLES), (OUTPUTS, SAMPLES), (OUTPUTS, TEST)
    targets, train, test = (generator.standard_normal(shape) for shape in shapes)
    return targets, RegressionOutputs(jnp.asarray(train), jnp.asarray(test))


def flow_of(modes: AbstractKernelModes, ridge: float = 0.0) -> KernelRegressionFlow:
    targets, initial = arrays()
    return KernelRegressionFlow(
        modes, targets=jnp.asarray(targets), loss_scale=Z, initial=initial, ridge=ridge, classes=3
    )


def cases() -> dict[str, tuple[AbstractKernelModes, np.ndarray, np.ndarray]]:
    """Modes, and the same kernel as matrices over all pairs (output, sample)."""
    both = np.eye(OUTPUTS)
    found = {}
    for name, rank in (("shared", 9), ("shared singular", 3)):
        matrix, rows = psd(rank, SAMPLES, TEST)
        found[name] = DenseModes.of(jnp.asarray(matrix), jnp.asarray(rows)), np.kron(both, matrix), np.kron(both, rows)
    for name, rank in (("coupled", 20), ("coupled singular", 5)):
        matrix, rows = coupled(rank)
        size = OUTPUTS * SAMPLES
        found[name] = (
            DenseModes.of(jnp.asarray(matrix), jnp.asarray(rows)),
            matrix.reshape(size, size),
            rows.reshape(OUTPUTS * TEST, size),
        )
    kernel = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=2)
    dense = block_matrix(1.9, 1.2, 0.4, 3, 2)
    found["block"] = BlockModes.of(kernel, jnp.asarray(block_rows())), np.kron(both, dense), np.kron(both, block_rows())
    return found


CASES = cases()
NAMES = sorted(CASES)


def relative(outputs: RegressionOutputs, index: int, train: np.ndarray, test: np.ndarray) -> float:
    return max(
        relative_difference(outputs.train[index], train.reshape(OUTPUTS, SAMPLES)),
        relative_difference(outputs.test[index], test.reshape(OUTPUTS, TEST)),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_closed_form_is_an_exponential_of_the_whole_system(name: str, ridge: float) -> None:
    """The affine system of (f(X), f(x)) as one matrix exponential: no eigenvectors and no inverse."""
    modes, matrix, rows = CASES[name]
    flow = flow_of(modes, ridge)
    targets, initial = arrays()
    start = np.concatenate([np.asarray(initial.train).ravel(), np.asarray(initial.test).ravel()])
    size = len(matrix)
    linear = np.zeros((len(start) + 1, len(start) + 1))
    linear[:-1, :size] = -np.concatenate([matrix, rows]) / Z
    linear[:-1, -1] = np.concatenate([matrix, rows]) @ targets.ravel() / Z + ridge * start / Z
    linear[:-1, :-1] -= ridge / Z * np.eye(len(start))
    outputs = flow.at(jnp.asarray(TIMES))
    for index, time in enumerate(TIMES):
        exact = (expm(time * linear) @ np.append(start, 1))[:-1]
        assert relative(outputs, index, exact[:size], exact[size:]) <= 1e-12
    assert relative_difference(modes.apply(jnp.asarray(targets)).ravel(), matrix @ targets.ravel()) <= 1e-14
    assert relative_difference(modes.apply_cross(jnp.asarray(targets)).ravel(), rows @ targets.ravel()) <= 1e-13


@pytest.mark.parametrize("name", ["coupled singular", "block"])
def test_the_solver_finds_the_same(name: str) -> None:
    flow = flow_of(CASES[name][0], 0.3)
    trajectory = solve(flow, flow.initial, jnp.asarray(TIMES))
    outputs = flow.at(jnp.asarray(TIMES))
    assert relative_difference(trajectory.states.train, outputs.train) <= 1e-9
    assert relative_difference(trajectory.states.test, outputs.test) <= 1e-9
    assert relative_difference(trajectory.residuals, outputs.train - flow.targets) <= 1e-9
    squares = np.sum(np.asarray(trajectory.residual_norms) ** 2, axis=1)
    assert relative_difference(squares, np.sum(np.asarray(trajectory.residuals) ** 2, axis=(1, 2))) <= 1e-12
    assert trajectory.invariants == {}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_limit_is_the_least_norm_solution(name: str, ridge: float) -> None:
    """NumPy's least squares in a feature space: minimum norm where many fit, ridge where asked for."""
    modes, matrix, rows = CASES[name]
    values, vectors = np.linalg.eigh(matrix)
    there = values > 1e-12
    features = vectors[:, there] * np.sqrt(values[there])
    test_features = rows @ vectors[:, there] / np.sqrt(values[there])
    targets, initial = arrays()
    force = targets.ravel() - np.asarray(initial.train).ravel()
    if ridge:
        padded = np.concatenate([features, np.sqrt(ridge) * np.eye(features.shape[1])])
        weight = np.linalg.lstsq(padded, np.append(force, np.zeros(features.shape[1])), rcond=None)[0]
    else:
        weight = np.linalg.lstsq(features, force, rcond=None)[0]
    flow = flow_of(modes, ridge)
    limit = jax.tree.map(lambda leaf: leaf[None], flow.limit())
    train = np.asarray(initial.train).ravel() + features @ weight
    test = np.asarray(initial.test).ravel() + test_features @ weight
    assert relative(limit, 0, train, test) <= 1e-10
    late = flow.at(jnp.asarray([1e4, 1e12]))
    assert relative_difference(late.test[0], limit.test[0]) <= 1e-10
    # Nothing grows, not even where an eigenvalue is 0 and the force is not.
    assert relative_difference(late.test[1], late.test[0]) <= 1e-10
    steps = flow.after_steps(0.9 * flow.step_limit(), jnp.asarray([20_000.0]))
    assert relative_difference(steps.test[0], limit.test[0]) <= 1e-10
    assert float(flow.squared_norm(flow.limit())) == pytest.approx(float(weight @ weight), rel=1e-10)


def test_a_singular_kernel_by_hand() -> None:
    """Two equal samples, and one that is twice the other: rank 1. f → the mean of the two targets, weighed."""
    x, test = np.array([[1.0], [1.0], [2.0]]), np.array([[3.0]])
    modes = DenseModes.of(jnp.asarray(x @ x.T), jnp.asarray(test @ x.T))
    assert np.count_nonzero(np.asarray(modes.eigenvalues)) == 1
    flow = KernelRegressionFlow(modes, targets=jnp.asarray([[1.0, 2.0, 3.0]]), loss_scale=1.0)
    # w = ⟨x, y⟩/⟨x, x⟩ = 9/6; w(t) = w(1 − exp(−6t)).
    assert relative_difference(flow.limit().train, [[1.5, 1.5, 3.0]]) <= 1e-15
    assert relative_difference(flow.limit().test, [[4.5]]) <= 1e-14
    outputs = flow.at(jnp.asarray([0.1, 1e15]))
    assert relative_difference(outputs.test[:, 0, 0], [-4.5 * np.expm1(-0.6), 4.5]) <= 1e-14
    left = flow.residual(flow.limit())
    assert abs(float(jnp.sum(left * x.ravel()))) <= 1e-14
    assert float(flow.loss(flow.limit())) == pytest.approx((0.5**2 + 0.5**2) / 2, rel=1e-14)


@pytest.mark.parametrize("name", ["coupled", "shared singular"])
def test_the_loss_is_the_one_that_falls(name: str) -> None:
    """dL/dt = −‖∇L‖²: in the feature space of the kernel, by a central difference of the closed form."""
    modes, matrix, _ = CASES[name]
    flow = flow_of(modes, 0.3)
    values, vectors = np.linalg.eigh(matrix)
    there = values > 1e-12
    features = vectors[:, there] * np.sqrt(values[there])
    t, h = 0.7, 1e-4
    outputs = flow.at(jnp.asarray([t - h, t, t + h]))
    states = [jax.tree.map(lambda leaf, i=i: leaf[i], outputs) for i in range(3)]
    targets, initial = arrays()
    moved = (np.asarray(states[1].train) - np.asarray(initial.train)).ravel()
    weight = np.linalg.lstsq(features, moved, rcond=None)[0]
    residual = (np.asarray(states[1].train) - targets).ravel()
    gradient = (features.T @ residual + 0.3 * weight) / Z
    expected = (residual @ residual + 0.3 * weight @ weight) / (2 * Z)
    assert float(flow.loss(states[1])) == pytest.approx(expected, rel=1e-11)
    slope = (float(flow.loss(states[2])) - float(flow.loss(states[0]))) / (2 * h)
    assert slope == pytest.approx(-gradient @ gradient, rel=1e-6)


@given(
    rank=st.integers(1, 7),
    scale=st.sampled_from([1e-8, 1.0, 1e8]),
    ridge=st.sampled_from([0.0, 1e-12, 1.0]),
    t=st.floats(0.0, 1e6),
)
def test_for_any_rank_scale_and_time(rank: int, scale: float, ridge: float, t: float) -> None:
    """Finite; the training error never grows beyond the start; both outputs move at one rate on a sample met before."""
    matrix, _ = psd(rank, SAMPLES, 0, seed=rank)
    modes = DenseModes.of(jnp.asarray(scale * matrix), jnp.asarray(scale * matrix[:TEST]))
    assert int(np.count_nonzero(np.asarray(modes.eigenvalues))) == min(rank, SAMPLES)
    targets, initial = arrays()
    same = RegressionOutputs(initial.train, initial.train[:, :TEST])
    flow = KernelRegressionFlow(
        modes, targets=jnp.asarray(targets), loss_scale=scale * Z, initial=same, ridge=scale * ridge
    )
    outputs = flow.at(jnp.asarray([t]))
    assert relative_difference(outputs.test[0], outputs.train[0, :, :TEST]) <= 1e-9
    start = np.linalg.norm(np.asarray(initial.train) - targets)
    assert np.linalg.norm(np.asarray(outputs.train[0]) - targets) <= start * (1 + 1e-12)


# A linearised network, trained


NETWORK = MLP(jax.random.key(4), inputs=64, outputs=3, width=7, hidden_layers=1, features=6, activation="tanh")


def digits() -> tuple[jax.Array, jax.Array, jax.Array]:
    images, labels = load_digits(return_X_y=True)
    chosen = np.concatenate([np.flatnonzero(labels == c)[:4] for c in range(3)])
    test = np.concatenate([np.flatnonzero(labels == c)[4:7] for c in range(3)])
    return jnp.asarray(images[chosen] / 16), jnp.asarray(images[test] / 16), jnp.asarray(np.eye(3)[labels[chosen]].T)


@pytest.mark.parametrize(("momentum", "ridge"), [(0.0, 0.0), (0.9, 0.0), (0.5, 0.2)])
def test_descent_of_a_linearised_network_on_digits(momentum: float, ridge: float) -> None:
    """θ moves, by the gradient that JAX takes of the loss of f₀ + ⟨∇f, θ − θ₀⟩; train and test logits are compared."""
    inputs, test, targets = digits()
    parameters, rest = eqx.partition(NETWORK, eqx.is_inexact_array)

    def logits(at: jax.Array):
        return jax.linearize(lambda parameters: eqx.combine(parameters, rest).logit_matrix(at), parameters)

    (train_start, train_slope), (test_start, test_slope) = logits(inputs), logits(test)
    flow = KernelRegressionFlow(
        DenseModes.of_network(NETWORK, inputs, test),
        targets=targets,
        loss_scale=12.0,
        initial=RegressionOutputs(train_start, test_start),
        ridge=ridge,
        classes=3,
    )
    step = 0.6 * flow.step_limit(momentum)

    def loss(moved: MLP) -> jax.Array:
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(moved))
        return (jnp.sum((train_start + train_slope(moved) - targets) ** 2) + ridge * squares) / 24.0

    @jax.jit
    def trained(moved: MLP, velocity: MLP, steps: int) -> tuple[MLP, MLP]:
        def once(_: int, both: tuple[MLP, MLP]) -> tuple[MLP, MLP]:
            at, v = both
            v = jax.tree.map(lambda v, g: momentum * v - step * g, v, jax.grad(loss)(at))
            return jax.tree.map(jnp.add, at, v), v

        return jax.lax.fori_loop(0, steps, once, (moved, velocity))

    counts = [1, 10, 100, 2000]
    outputs = flow.after_steps(step, jnp.asarray(counts, float), momentum)
    moved = velocity = jax.tree.map(jnp.zeros_like, parameters)
    for index, more in enumerate(np.diff([0, *counts])):
        moved, velocity = trained(moved, velocity, int(more))
        assert relative_difference(outputs.train[index], train_start + train_slope(moved)) <= 1e-11
        assert relative_difference(outputs.test[index], test_start + test_slope(moved)) <= 1e-11
    squares = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(moved))
    state = RegressionOutputs(outputs.train[-1], outputs.test[-1])
    assert float(flow.squared_norm(state)) == pytest.approx(squares, rel=1e-9)


# What is refused


def test_rounding_below_zero_is_zero() -> None:
    matrix, rows = psd(3, SAMPLES, TEST)
    noise = np.random.default_rng(0).standard_normal((SAMPLES, SAMPLES)) * 1e-15
    shaken = matrix + noise + noise.T
    assert np.linalg.eigvalsh(shaken)[0] < 0
    modes = DenseModes.of(jnp.asarray(shaken), jnp.asarray(rows))
    values = np.asarray(modes.eigenvalues)
    assert np.array_equal(values[:3], [0, 0, 0])
    assert np.all(values[3:] > 0)
    targets, initial = arrays()
    flow = KernelRegressionFlow(modes, targets=jnp.asarray(targets), loss_scale=Z, initial=initial)
    late = flow.at(jnp.asarray([1e12])).test[0]
    assert relative_difference(late, flow.limit().test) <= 1e-12
    energies = modes.energies(jnp.asarray(targets))
    assert float(jnp.sum(energies)) == pytest.approx(np.sum(targets**2), rel=1e-13)
    assert modes.multiplicities.tolist() == [1.0] * SAMPLES


def test_a_tolerance_of_ones_own() -> None:
    matrix = np.diag([2.0, 1.0, 1e-3, -1e-4])
    with pytest.raises(ValueError, match="positive semi-definite"):
        DenseModes.of(jnp.asarray(matrix))
    assert DenseModes.of(jnp.asarray(matrix), tolerance=1e-4).eigenvalues.tolist() == [0.0, 1e-3, 1.0, 2.0]
    assert DenseModes.of(jnp.asarray(matrix), tolerance=1e-2).eigenvalues.tolist() == [0.0, 0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("matrix", "rows", "message"),
    [
        (np.array([[1.0, 2.0], [2.0, 1.0]]), None, r"positive semi-definite.*eigenvalue -1 beside the largest 3"),
        (np.array([[1.0, 0.5], [0.4, 1.0]]), None, "symmetric, but entries differ by 0.1"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), None, "not finite"),
        (np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([[1.0, -1.0]]), "different kernels"),
        (np.zeros((2, 2)), np.ones((1, 2)), "different kernels"),
        (np.eye(2), np.ones((1, 3)), "fits no set of samples"),
        (np.ones((2, 3)), None, "fits no set of samples"),
        (np.zeros((2, 3, 2, 3)), np.zeros((1, 4, 2, 3)), "needs rows of as many"),
    ],
)
def test_kernels_that_are_none(matrix: np.ndarray, rows: np.ndarray | None, message: str) -> None:
    # The shapes are wrong on purpose, which the checked annotations would say first.
    plain = DenseModes.of.__func__
    while hasattr(plain, "__wrapped__"):
        plain = plain.__wrapped__
    with pytest.raises(ValueError, match=message):
        plain(DenseModes, jnp.asarray(matrix), None if rows is None else jnp.asarray(rows))


def test_block_kernels_that_are_none() -> None:
    with pytest.raises(ValueError, match="positive semi-definite"):
        BlockModes.of(BlockKernel(1.0, 1.5, 0.0, classes=3, per_class=2))
    with pytest.raises(ValueError, match="eigenspace where the block kernel is 0"):
        BlockModes.of(BlockKernel(1.0, 1.0, 0.0, classes=3, per_class=2), jnp.eye(6)[:1])
    with pytest.raises(ValueError, match="needs rows of as many"):
        BlockModes.of(BlockKernel(1.0, 0.5, 0.0, classes=3, per_class=2), jnp.ones((1, 5)))
    # One sample a class: no within-class space, whose eigenvalue would be negative.
    assert BlockModes.of(BlockKernel(1.0, 3.0, 0.0, classes=3, per_class=1)).eigenvalues.tolist()[2] == 0
    modes = BlockModes.of(BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=2))
    assert (modes.test_samples, modes.multiplicities.tolist()) == (0, [1.0, 2.0, 3.0])


def test_settings_that_are_none() -> None:
    matrix, rows = psd(9, SAMPLES, TEST)
    modes = DenseModes.of(jnp.asarray(matrix), jnp.asarray(rows))
    targets, initial = arrays()
    for settings, message in (
        ({"ridge": -1.0}, "ridge"),
        ({"classes": 4}, "4 classes"),
        ({"initial": RegressionOutputs(initial.test, initial.test)}, "do not fit"),
    ):
        with pytest.raises(ValueError, match=message):
            KernelRegressionFlow(modes, targets=jnp.asarray(targets), loss_scale=Z, **settings)


@pytest.mark.parametrize("name", ["coupled", "block"])
def test_lowering(name: str) -> None:
    flow = flow_of(CASES[name][0], 0.1)
    times = jnp.asarray(TIMES)
    assert "stablehlo" in lower_for_cuda(lambda f: f.vector_field(times[0], f.initial, None), flow)
    assert "stablehlo" in lower_for_cuda(lambda f, times: f.at(times), flow, times)
    assert "stablehlo" in lower_for_cuda(lambda f, steps: f.after_steps(0.1, steps, 0.9), flow, times)
