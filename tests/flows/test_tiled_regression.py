"""Regression with a kernel that is not stored, beside the one with the matrix: limits, times, bounds, refusals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from jaxtyping import Array, Float
from kernels.dense import relative_difference

from ntkflow.errors import SolverError
from ntkflow.flows import (
    DenseModes,
    KernelRegressionFlow,
    LowRankModes,
    RegressionOutputs,
    TiledRegression,
    nystrom_error_bound,
)
from ntkflow.flows.conjugate_gradients import LowRankPreconditioner, conjugate_gradients
from ntkflow.flows.lanczos import KrylovSpaces, extended
from ntkflow.kernels import AbstractPairKernel, GaussianPairs, NystromKernel, TiledKernel, rbf_kernel

N, TESTS, OUTPUTS, Z = 41, 6, 2, 41.0
generator = np.random.default_rng(3)
INPUTS, TEST_INPUTS = (jnp.asarray(generator.standard_normal((count, 5))) for count in (N, TESTS))
TARGETS = jnp.asarray(generator.standard_normal((OUTPUTS, N)))
INITIAL = RegressionOutputs(*(jnp.asarray(generator.standard_normal((OUTPUTS, count))) for count in (N, TESTS)))
PAIRS = GaussianPairs(1.5)
KERNEL = TiledKernel(PAIRS, INPUTS, tile=16)
KEY = jax.random.key(0)
RIDGE = 0.01
TIMES = jnp.asarray([0.0, 1.0, 30.0, 400.0])


def gram(rows: Array) -> Array:
    return rbf_kernel(rows, INPUTS, length_scale=1.5)


def dense(ridge: float) -> KernelRegressionFlow:
    modes = DenseModes.of(gram(INPUTS), gram(TEST_INPUTS))
    return KernelRegressionFlow(modes, targets=TARGETS, loss_scale=Z, initial=INITIAL, ridge=ridge)


def tiled(ridge: float, kernel: TiledKernel = KERNEL) -> TiledRegression:
    return TiledRegression(kernel, targets=TARGETS, loss_scale=Z, test_inputs=TEST_INPUTS, initial=INITIAL, ridge=ridge)


@pytest.mark.parametrize("ridge", [0.0, RIDGE])
def test_the_limit(ridge: float) -> None:
    expected = dense(ridge).limit()
    plain = tiled(ridge).limit(tolerance=1e-11)
    helped = tiled(ridge).limit(NystromKernel.of(KERNEL, 20, key=KEY), tolerance=1e-11)
    assert (plain.rank, helped.rank) == (0, 20)
    assert int(jnp.max(helped.solution.iterations)) < int(jnp.max(plain.solution.iterations))
    theta = np.asarray(gram(INPUTS))
    for found in (plain, helped):
        left = np.asarray(found.coefficients) @ (theta + ridge * np.eye(N)) - np.asarray(TARGETS - INITIAL.train)
        residuals = np.linalg.norm(left, axis=1) / np.linalg.norm(TARGETS - INITIAL.train, axis=1)
        assert np.max(residuals) <= 1e-11
        assert np.asarray(found.solution.residuals) == pytest.approx(residuals, abs=1e-13)
        assert relative_difference(found.outputs.train, expected.train) <= 1e-9
        assert relative_difference(found.outputs.test, expected.test) <= 1e-8


@pytest.mark.parametrize("ridge", [0.0, RIDGE])
def test_times_and_their_bounds(ridge: float) -> None:
    flow, regression = dense(ridge), tiled(ridge)
    exact = flow.at(TIMES)
    found = regression.at(TIMES, tolerance=1e-10)
    assert found.steps < N
    assert relative_difference(found.outputs.train, exact.train) <= 1e-9
    assert relative_difference(found.outputs.test, exact.test) <= 1e-8
    assert relative_difference(found.coefficients, flow.coefficients(TIMES)) <= 1e-7
    assert relative_difference(regression.losses(found.outputs, found.coefficients), jax.vmap(flow.loss)(exact)) <= 1e-9


@pytest.mark.parametrize("ridge", [0.0, RIDGE])
def test_too_few_steps_are_told_of(ridge: float) -> None:
    exact = dense(ridge).at(TIMES)
    found = tiled(ridge).at(TIMES, tolerance=0.0, max_steps=1)
    assert found.steps == 16
    errors = []
    for name, bound in (("train", found.train_bound), ("test", found.test_bound)):
        apart = np.asarray(getattr(found.outputs, name) - getattr(exact, name))
        error = np.sqrt(np.mean(apart**2, axis=(1, 2)))
        assert np.all(error <= np.asarray(bound) * (1 + 1e-6) + 1e-13)
        errors.append(error[-1] / float(bound[-1]))
    # They are bounds that say something: within two digits of the error where there is one.
    assert float(found.train_bound[-1]) > 1e-7
    assert errors[0] > 1e-2
    assert errors[1] > 1e-3


def test_an_invariant_space_ends_the_iteration() -> None:
    """Inputs of two kinds, four copies each: the kernel has rank 2, and two steps are exact at all times."""
    twice = jnp.repeat(INPUTS[:2], 4, axis=0)
    kernel = TiledKernel(PAIRS, twice, tile=5)
    targets = TARGETS[:, :8]
    found = TiledRegression(kernel, targets=targets, loss_scale=8.0).at(TIMES)
    exact = KernelRegressionFlow(
        DenseModes.of(rbf_kernel(twice, twice, length_scale=1.5)), targets=targets, loss_scale=8.0
    ).at(TIMES)
    assert relative_difference(found.outputs.train[1:], exact.train[1:]) <= 1e-11
    assert float(jnp.max(found.train_bound)) == 0.0
    assert found.outputs.test.shape == (4, OUTPUTS, 0)


def test_low_rank_modes_are_those_of_the_approximation() -> None:
    """As a model by itself: the flow and the limit with the dense matrix Θ̃."""
    low = NystromKernel.of(KERNEL, 12, key=KEY)
    features, test_features = np.asarray(low.factor), np.asarray(low.features(TEST_INPUTS))
    matrix, cross = features.T @ features, test_features.T @ features
    modes = LowRankModes.of(low, TEST_INPUTS)
    for ridge in (0.0, RIDGE):
        flows = [
            KernelRegressionFlow(item, targets=TARGETS, loss_scale=Z, initial=INITIAL, ridge=ridge)
            for item in (modes, DenseModes.of(jnp.asarray(matrix), jnp.asarray(cross)))
        ]
        low_rank, whole = (flow.at(TIMES) for flow in flows)
        assert relative_difference(low_rank.train, whole.train) <= 1e-10
        assert relative_difference(low_rank.test, whole.test) <= 1e-9
        assert relative_difference(flows[0].limit().test, flows[1].limit().test) <= 1e-8
        assert float(jnp.sum(modes.energies(TARGETS))) == pytest.approx(float(jnp.sum(TARGETS**2)), rel=1e-12)
    assert relative_difference(modes.apply(TARGETS), np.asarray(TARGETS) @ matrix) <= 1e-11
    assert relative_difference(modes.apply_cross(TARGETS), np.asarray(TARGETS) @ cross.T) <= 1e-11
    assert np.asarray(modes.multiplicities).tolist() == [1] * 12 + [N - 12]


@pytest.mark.parametrize("ridge", [0.001, 0.1, 10.0])
def test_the_bound_of_the_approximation(ridge: float) -> None:
    low = NystromKernel.of(KERNEL, 12, key=KEY)
    exact = dense(ridge).limit().train
    approximate = (
        KernelRegressionFlow(
            LowRankModes.of(low),
            targets=TARGETS,
            loss_scale=Z,
            initial=RegressionOutputs(INITIAL.train, jnp.zeros((2, 0))),
            ridge=ridge,
        )
        .limit()
        .train
    )
    error = float(jnp.linalg.norm(exact - approximate))
    bound = float(nystrom_error_bound(low, TARGETS - INITIAL.train, ridge))
    assert 1e-3 * bound < error <= bound


class Products(AbstractPairKernel):
    """sign · ⟨x, x'⟩ + offset: singular, and not positive semi-definite for a sign of −1."""

    sign: float
    offset: float

    def block(
        self, rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."]
    ) -> Float[Array, "rows columns"]:
        return self.sign * rows @ columns.T + self.offset

    def own_block(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "samples samples"]:
        return self.block(inputs, inputs)

    def diagonal(self, inputs: Float[Array, "samples ..."]) -> Float[Array, " samples"]:
        return self.sign * jnp.sum(inputs**2, axis=1) + self.offset


def test_singular_kernels_need_a_ridge() -> None:
    kernel = TiledKernel(Products(1.0, 0.0), INPUTS, tile=16)
    low = NystromKernel.of(kernel, 20, key=KEY)
    assert low.rank == 5
    assert float(low.trace_error) <= 1e-10 * float(low.trace)
    with pytest.raises(SolverError, match=r"relative residual of .*\n.*[Ww]ithout ridge the kernel is singular"):
        tiled(0.0, kernel).limit(low, max_steps=50)
    found = tiled(0.5, kernel).limit(low, tolerance=1e-10)
    theta = np.asarray(INPUTS @ INPUTS.T)
    expected = np.linalg.solve(theta + 0.5 * np.eye(N), np.asarray(TARGETS - INITIAL.train).T).T
    assert relative_difference(found.coefficients, expected) <= 1e-8
    # Not at the tolerance with a ridge: the remedy is another.
    with pytest.raises(SolverError, match="Take a larger ridge"):
        tiled(0.5, kernel).limit(max_steps=2)


def test_indefinite_kernels_are_refused() -> None:
    kernel = TiledKernel(Products(-1.0, 30.0), INPUTS, tile=16)
    with pytest.raises(ValueError, match="positive semi-definite"):
        NystromKernel.of(kernel, 5, key=KEY)
    # Nothing but the negative part, which neither sees in other directions.
    inside = (INPUTS - jnp.mean(INPUTS, axis=0)).T[:2]
    regression = TiledRegression(kernel, targets=inside, loss_scale=Z, ridge=0.1)
    with pytest.raises(ValueError, match="⟨a, Θa⟩ is negative"):
        regression.limit(tolerance=1e-6)
    with pytest.raises(ValueError, match=r"positive semi-definite, but this one has ⟨v, Θv⟩ = -"):
        regression.at(TIMES)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="ridge must be at least 0"):
        tiled(-1.0)
    with pytest.raises(ValueError, match="do not fit a kernel of 41 training and 6 test samples"):
        TiledRegression(KERNEL, targets=TARGETS[:, 1:], loss_scale=Z, test_inputs=TEST_INPUTS)
    with pytest.raises(ValueError, match=r"shape \(4,\) cannot be compared"):
        TiledRegression(KERNEL, targets=TARGETS, loss_scale=Z, test_inputs=TEST_INPUTS[:, 1:])


def test_lowering() -> None:
    low = LowRankPreconditioner.of(NystromKernel.of(KERNEL, 4, key=KEY), RIDGE)
    number = jnp.asarray(1e-8)

    def limit(kernel: TiledKernel, low: LowRankPreconditioner, force: Array, number: Array) -> object:
        return conjugate_gradients(kernel, low, force, ridge=number, tolerance=number, max_steps=30)

    assert "stablehlo.while" in lower_for_cuda(limit, KERNEL, low, TARGETS, number)
    spaces = KrylovSpaces.start(TARGETS, 16)
    text = lower_for_cuda(
        lambda kernel, number, *of: extended((kernel, number), KrylovSpaces(*of), jnp.asarray(0)),
        KERNEL,
        number,
        *spaces,
    )
    assert "stablehlo.while" in text
