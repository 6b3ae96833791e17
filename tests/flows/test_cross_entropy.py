"""The flow of the softmax cross-entropy against SciPy, its own loss's gradient, and closed forms where they exist."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.full_kernel import FullProblem, assert_agrees, for_each_feature, random_start, spread
from flows.lowering import lower_for_cuda
from kernels.dense import block_matrix, relative_difference
from scipy.integrate import solve_ivp
from scipy.special import wrightomega

from ntkflow.flows import CrossEntropyFlow, CrossEntropyOutputFlow, InvariantSides, SampleState, solve
from ntkflow.kernels import BlockKernel

KAPPA = (1.9, 1.2, 0.4)
C, M, N_FEATURES = 3, 4, 4
LABELS = np.arange(C * M) // M
KERNEL = BlockKernel(*KAPPA, classes=C, per_class=M)
SMOOTHED = np.full((C, C), 0.1) + 0.7 * np.eye(C)


def random_sample_problem(seed: int, targets: np.ndarray, end: float = 3.0) -> FullProblem:
    start = random_start(np.random.default_rng(seed), features=N_FEATURES, samples=C * M, outputs=C)
    theta = for_each_feature(block_matrix(*KAPPA, C, M), N_FEATURES)
    return FullProblem(theta, targets[:, LABELS], 6.0, start, end=end, softmax=True)


@pytest.mark.parametrize(("seed", "targets"), [(0, np.eye(C)), (1, SMOOTHED)])
def test_against_scipy_on_the_whole_kernel(seed: int, targets: np.ndarray) -> None:
    problem = random_sample_problem(seed, targets)
    flow = CrossEntropyFlow(KERNEL, loss_scale=6.0, targets=jnp.asarray(targets))
    seen = assert_agrees(problem, flow, solve(flow, problem.state, jnp.asarray(problem.times)).states, LABELS)
    assert np.all(np.diff(seen["loss"]) < 0)
    scale = float(InvariantSides.of(problem.state, KERNEL).scale)
    assert spread(seen["E"]) <= 1e-10 * scale
    assert spread(seen["weight_sum"]) <= 1e-12 * np.linalg.norm(problem.initial[1])
    assert spread(seen["bias_sum"]) <= 1e-12


@pytest.mark.parametrize("targets", [np.eye(C), SMOOTHED])
def test_r_is_the_gradient_of_the_loss(targets: np.ndarray) -> None:
    """Z times the gradient of the loss with respect to the outputs, and the velocities of W and b are minus its own."""
    problem = random_sample_problem(2, targets)
    outputs = jnp.asarray(np.random.default_rng(3).standard_normal((C, C * M)))
    of_outputs = CrossEntropyOutputFlow(KERNEL, loss_scale=6.0, targets=jnp.asarray(targets))
    gradient = jax.grad(of_outputs.loss)(outputs)
    assert relative_difference(of_outputs.residual(outputs), 6.0 * gradient) <= 1e-14
    velocity = of_outputs.vector_field(jnp.asarray(0.0), outputs, None)
    assert relative_difference(velocity, -np.asarray(gradient) @ block_matrix(*KAPPA, C, M)) <= 1e-14
    flow = CrossEntropyFlow(KERNEL, loss_scale=6.0, targets=jnp.asarray(targets))
    gradient = jax.grad(flow.loss)(problem.state)
    velocity = flow.vector_field(jnp.asarray(0.0), problem.state, None)
    assert relative_difference(velocity.weight, -gradient.weight) <= 1e-13
    assert relative_difference(velocity.bias, -gradient.bias) <= 1e-13
    assert relative_difference(velocity.features, -gradient.features @ block_matrix(*KAPPA, C, M)) <= 1e-13


def test_outputs_of_a_symmetric_start_in_closed_form() -> None:
    """f = a on the label and −a/(C−1) elsewhere: u = f_label − f_other obeys u̇ = Cλ_class/(Z(e^u + C − 1)).

    So e^u + (C−1)u = e^u₀ + (C−1)u₀ + Cλ_class t/Z.
    """
    kernel = BlockKernel(*KAPPA, classes=C, per_class=2)
    flow = CrossEntropyOutputFlow(kernel, loss_scale=1.5)
    start = -0.3
    pattern = np.repeat(np.eye(C), 2, axis=1) - 1 / C  # 1 between the label and the rest
    times = np.array([0.0, 0.5, 3.0, 30.0])
    found = solve(flow, jnp.asarray(start * pattern), jnp.asarray(times))
    rate = KAPPA[0] - KAPPA[1] + 2 * (KAPPA[1] - KAPPA[2])
    level = np.exp(start) + (C - 1) * start + C * rate * times / 1.5
    # v + log v = x has the solution v = ω(x), Wright's function, with v = e^u/(C−1).
    gap = np.log((C - 1) * wrightomega(level / (C - 1) - np.log(C - 1)).real)
    for index, expected in enumerate(gap):
        assert relative_difference(found.states[index], expected * pattern) <= 1e-9
    # All of R is in the class means: √N times the length of one column.
    label_share = 1 / (1 + (C - 1) * np.exp(-gap))
    expected = np.sqrt(C * 2 * C / (C - 1)) * (1 - label_share)
    assert relative_difference(found.residual_norms[:, 1], expected) <= 1e-9
    assert spread(np.asarray(found.invariants["output_sums"])) <= 1e-12


def test_two_classes_of_one_sample_are_the_logistic_equation() -> None:
    """u̇ = 2(κ_d − κ_n)/(Z(1 + e^u)) for the difference u of the two outputs."""
    flow = CrossEntropyOutputFlow(BlockKernel(*KAPPA, classes=2, per_class=1), loss_scale=1.5)
    pattern = np.array([[0.5, -0.5], [-0.5, 0.5]])
    for u in (-2.0, 0.1, 5.0, 40.0):  # at 40, softmax − 1 in double precision would be 0
        velocity = flow.vector_field(jnp.asarray(0.0), jnp.asarray(u * pattern), None)
        expected = 2 * (KAPPA[0] - KAPPA[2]) / (1.5 * (1 + np.exp(u)))
        assert relative_difference(velocity, expected * pattern) <= 1e-14


def test_a_symmetric_start_of_the_last_layers_is_two_numbers() -> None:
    """H = ηUY and W = ωUᵀ with UᵀU = I − 11ᵀ/C: u = ηω, η̇ = λ_class ω r/Z, ω̇ = m η r/Z, r = C/(e^u + C − 1)."""
    problem = random_sample_problem(0, np.eye(C), end=3.0)
    direction = np.linalg.qr(np.random.default_rng(4).standard_normal((N_FEATURES, C)))[0] @ (np.eye(C) - 1 / C)
    eta, omega, rate = 0.4, 0.1, 0.7 + M * 0.8
    start = SampleState(jnp.asarray(eta * direction[:, LABELS]), jnp.asarray(omega * direction.T), jnp.zeros(C))
    flow = CrossEntropyFlow(KERNEL, loss_scale=6.0)

    def field(_: float, pair: np.ndarray) -> np.ndarray:
        r = C / (np.exp(pair[0] * pair[1]) + C - 1) / 6.0
        return np.array([rate * pair[1] * r, M * pair[0] * r])

    times = problem.times * 10
    expected = solve_ivp(field, (0, times[-1]), [eta, omega], method="DOP853", rtol=1e-12, atol=1e-14, t_eval=times)
    states = solve(flow, start, jnp.asarray(times)).states
    for index, (size_of_h, size_of_w) in enumerate(expected.y.T):
        assert relative_difference(states.features[index], size_of_h * direction[:, LABELS]) <= 1e-8
        assert relative_difference(states.weight[index], size_of_w * direction.T) <= 1e-8


def test_growth_aligns_the_sides_of_the_invariant() -> None:
    """E stays and W grows, so that WᵀW/m and the feature side become proportional, from any start that separates."""
    problem = random_sample_problem(5, np.eye(C))
    flow = CrossEntropyFlow(KERNEL, loss_scale=6.0)
    times = jnp.asarray([0.0, 1e1, 1e3, 1e5])
    states = solve(flow, problem.state, times).states
    sides = [InvariantSides.of(jax.tree.map(lambda leaf, i=i: leaf[i], states), KERNEL) for i in range(4)]
    shares = [float(side.norm / side.scale) for side in sides]
    assert shares[0] > shares[1] > shares[2] > shares[3]
    assert float(sides[3].scale) > float(sides[2].scale) > float(sides[1].scale)
    assert 1 - float(sides[3].alignment) < 1 - float(sides[1].alignment) < 1 - float(sides[0].alignment)


def test_bad_input_is_refused() -> None:
    for kind in (CrossEntropyFlow, CrossEntropyOutputFlow):
        with pytest.raises(ValueError, match="targets of 2 classes"):
            kind(KERNEL, loss_scale=1.0, targets=jnp.ones((2, 2)) / 2)
        for wrong in (jnp.eye(C) - 1 / C, 2 * jnp.eye(C), jnp.asarray([[1.5, 0, 0], [-0.5, 1, 0], [0, 0, 1]])):
            with pytest.raises(ValueError, match="not negative and sum to 1"):
                kind(KERNEL, loss_scale=1.0, targets=wrong)


def test_without_a_positive_definite_kernel_only_the_sums_are_left() -> None:
    state = random_sample_problem(0, np.eye(C)).state
    flow = CrossEntropyFlow(BlockKernel(1.0, 1.0, 0.2, classes=C, per_class=M), loss_scale=1.0)
    assert set(flow.invariants(state)) == {"weight_sum", "bias_sum"}
    # With one sample a class there is no within-class space, and its eigenvalue is none.
    single = BlockKernel(1.0, 1.0, 0.2, classes=C, per_class=1)
    assert CrossEntropyFlow(single, loss_scale=1.0).has_invariant


def test_large_logits_stay_finite() -> None:
    flow = CrossEntropyOutputFlow(KERNEL, loss_scale=1.0)
    outputs = 1e4 * (jnp.repeat(jnp.eye(C), M, axis=1) - 0.5)
    assert float(flow.loss(outputs)) == 0
    assert abs(float(flow.loss(-outputs)) - 12 * (1e4 + np.log(2))) <= 1e-6
    assert bool(jnp.all(jnp.isfinite(flow.vector_field(jnp.asarray(0.0), -outputs, None))))


@pytest.mark.parametrize("kind", [CrossEntropyFlow, CrossEntropyOutputFlow])
def test_lowers_for_cuda(kind: type) -> None:
    flow = kind(KERNEL, loss_scale=1.0)
    state = random_sample_problem(0, np.eye(C)).state if kind is CrossEntropyFlow else jnp.zeros((C, C * M))
    text = lower_for_cuda(lambda flow, state: flow.vector_field(jnp.asarray(0.0), state, None), flow, state)
    assert "stablehlo" in text
    lower_for_cuda(lambda flow, state: flow.invariants(state), flow, state)
