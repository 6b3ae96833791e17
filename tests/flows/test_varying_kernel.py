"""Flows under kernels that change at snapshots, and of a linearised network, against SciPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.full_kernel import FullProblem, for_each_feature, integrate_with_scipy, random_start, residual
from kernels.dense import relative_difference
from kernels.jacobians import shaken
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from ntkflow.flows import Integration, LinearizedFlow, SampleState, VaryingKernelFlow, solve
from ntkflow.kernels import AbstractKernelOperator, IsotropicKernel, NeuronDiagonalKernel, TangentKernel
from ntkflow.networks import MLP

CLASSES, PER_CLASS, FEATURES = 2, 3, 4
SAMPLES = CLASSES * PER_CLASS
TIMES = np.array([0.0, 0.4, 1.1])
Z = 3.0
FINE = Integration(rtol=1e-10, atol=1e-12)


def matrices() -> list[np.ndarray]:
    """Three positive definite kernels, quite different."""
    generator = np.random.default_rng(0)
    factors = [generator.standard_normal((SAMPLES, SAMPLES)) for _ in range(3)]
    return [
        factor @ factor.T / SAMPLES + size * np.eye(SAMPLES)
        for factor, size in zip(factors, (0.2, 1.0, 0.5), strict=True)
    ]


def start_state() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return random_start(np.random.default_rng(1), features=FEATURES, samples=SAMPLES, outputs=CLASSES)


def by_scipy(interpolation: str) -> list[np.ndarray]:
    """H at 0.2, 0.4, 0.9, 1.1, 2, piece by piece with the kernel written out."""
    columns, kernels = np.repeat(np.eye(CLASSES), PER_CLASS, axis=1), matrices()
    shapes = [array.shape for array in start_state()]
    cuts = np.cumsum([array.size for array in start_state()])[:-1]

    def kernel_at(t: float, piece: int) -> np.ndarray:
        if interpolation == "constant" or piece == 2:
            return kernels[piece]
        share = (t - TIMES[piece]) / (TIMES[piece + 1] - TIMES[piece])
        return (1 - share) * kernels[piece] + share * kernels[piece + 1]

    flat = np.concatenate([array.ravel() for array in start_state()])
    found: list[np.ndarray] = []
    for piece, (begin, end, wanted) in enumerate(((0.0, 0.4, [0.2, 0.4]), (0.4, 1.1, [0.9, 1.1]), (1.1, 2.0, [2.0]))):

        def field(t: float, flat: np.ndarray, piece: int = piece) -> np.ndarray:
            h, w, b = (part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True))
            r = (w @ h + b[:, None] - columns) / Z
            return -np.concatenate([(w.T @ r @ kernel_at(t, piece)).ravel(), (r @ h.T).ravel(), r.sum(axis=1)])

        solution = solve_ivp(field, (begin, end), flat, method="DOP853", rtol=1e-12, atol=1e-14, t_eval=wanted)
        assert solution.success
        flat = solution.y[:, -1]
        found += [column[: cuts[0]].reshape(shapes[0]) for column in solution.y.T]
    return found


@pytest.mark.parametrize("interpolation", ["constant", "linear"])
def test_against_scipy_piece_by_piece(interpolation: str) -> None:
    kernels = [IsotropicKernel(jnp.asarray(matrix)) for matrix in matrices()]
    flow = VaryingKernelFlow(
        jnp.asarray(TIMES), kernels, targets=jnp.eye(CLASSES), loss_scale=Z, interpolation=interpolation
    )
    state = SampleState(*map(jnp.asarray, start_state()))
    trajectory = solve(flow, state, jnp.asarray([0.0, 0.2, 0.4, 0.9, 1.1, 2.0]), FINE)
    for index, expected in enumerate(by_scipy(interpolation)):
        assert relative_difference(trajectory.state_at(index + 1).features, expected) <= 1e-8


def test_the_two_interpolations_differ() -> None:
    constant, linear = by_scipy("constant"), by_scipy("linear")
    assert relative_difference(constant[-1], linear[-1]) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["constant", "linear"])
def test_one_kernel_is_the_frozen_flow(interpolation: str) -> None:
    theta = for_each_feature(matrices()[1], FEATURES)
    columns = np.repeat(np.eye(CLASSES), PER_CLASS, axis=1)
    problem = FullProblem(theta, columns, Z, start_state(), 1.5)
    kernel = NeuronDiagonalKernel(jnp.asarray(np.stack([matrices()[1]] * FEATURES)))
    flow = VaryingKernelFlow(
        jnp.zeros(1), [kernel], targets=jnp.eye(CLASSES), loss_scale=Z, interpolation=interpolation
    )
    trajectory = solve(flow, problem.state, jnp.asarray(problem.times), FINE)
    for index, expected in enumerate(integrate_with_scipy(problem)):
        for ours, theirs in zip(jax.tree.leaves(trajectory.state_at(index)), expected, strict=True):
            assert relative_difference(ours, theirs) <= 1e-8
        assert relative_difference(trajectory.residuals[index], residual(problem, expected)) <= 1e-8


def networks() -> tuple[MLP, MLP, jax.Array]:
    made = [
        shaken(MLP(jax.random.key(seed), inputs=3, outputs=2, width=5, hidden_layers=1, features=4, activation="tanh"))
        for seed in (0, 1)
    ]
    return made[0], made[1], jnp.asarray(np.random.default_rng(2).standard_normal((SAMPLES, 3)))


def test_kernels_of_networks_are_blended_by_their_values() -> None:
    """Θʰ is linear between snapshots, not the parameters; inputs that all share are held once."""
    first, second, inputs = networks()
    kernels = [TangentKernel(network, inputs, "features") for network in (first, second)]
    flow = VaryingKernelFlow(jnp.asarray([0.0, 2.0]), kernels, targets=jnp.eye(2), loss_scale=Z)
    array = jnp.asarray(np.random.default_rng(3).standard_normal((4, SAMPLES)))
    state = SampleState(array, first.readout.weight, first.readout.bias)
    field = flow.vector_field(jnp.asarray(0.5), state, None)
    pull = first.readout.weight.T @ flow.residual(state) / Z
    expected = -(0.75 * kernels[0].apply(pull) + 0.25 * kernels[1].apply(pull))
    assert relative_difference(field.features, expected) <= 1e-12
    held = sum(leaf.size for leaf in jax.tree.leaves(flow) if hasattr(leaf, "size"))
    parameters = first.parameter_count()
    assert held < 2 * parameters + 2 * inputs.size


def refused(kernels: list[AbstractKernelOperator], times: list[float]) -> str:
    with pytest.raises(ValueError, match=r"snapshots|needed|features") as caught:
        VaryingKernelFlow(jnp.asarray(times), kernels, targets=jnp.eye(2), loss_scale=Z)
    return str(caught.value)


def test_bad_input() -> None:
    first, _, inputs = networks()
    good = IsotropicKernel(jnp.eye(4))
    assert "one kernel is needed for each of the 2 times, not 1" in refused([good], [0.0, 1.0])
    assert "must increase" in refused([good, good], [1.0, 1.0])
    assert "of one kind and size" in refused([good, IsotropicKernel(jnp.eye(5))], [0.0, 1.0])
    assert "of one kind and size" in refused([good, NeuronDiagonalKernel(jnp.ones((2, 4, 4)))], [0.0, 1.0])
    assert "not of the logits" in refused([TangentKernel(first, inputs, "logits")], [0.0])
    with pytest.raises(ValueError, match="square matrix"):
        IsotropicKernel(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="not of the features"):
        LinearizedFlow(TangentKernel(first, inputs, "features"), classes=2, loss_scale=Z)


def test_the_linearised_networks_flow_is_an_exponential() -> None:
    network, _, inputs = networks()
    kernel = TangentKernel(network, inputs, "logits")
    theta = np.stack(
        [np.asarray(kernel.apply(jnp.asarray(unit.reshape(2, SAMPLES)))).ravel() for unit in np.eye(2 * SAMPLES)]
    )
    start = np.random.default_rng(4).standard_normal((2, SAMPLES))
    flow = LinearizedFlow(kernel, classes=2, loss_scale=Z)
    trajectory = solve(flow, jnp.asarray(start), jnp.asarray([0.0, 0.7, 2.0]), FINE)
    for index, time in enumerate((0.0, 0.7, 2.0)):
        expected = (expm(-time * theta / Z) @ start.ravel()).reshape(2, SAMPLES)
        assert relative_difference(trajectory.residuals[index], expected) <= 1e-8
        norm = np.sqrt(np.sum(np.asarray(trajectory.residual_norms[index]) ** 2))
        assert norm == pytest.approx(np.linalg.norm(expected), rel=1e-8)
