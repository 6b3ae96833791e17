"""Cross-entropy with a constant kernel: against the flow of the parameters, Lambert's function, and what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from scipy.integrate import solve_ivp
from scipy.special import lambertw, softmax
from training.tiny import dataset, network

from ntkflow.flows import DenseModes, KernelClassificationFlow, RegressionOutputs, solve
from ntkflow.networks import AbstractClassifier, LinearizedNetwork, displacement_of

OUTPUTS, SAMPLES, TEST, Z = 3, 6, 4, 2.0
TIMES = np.array([0.0, 0.5, 2.0, 10.0])


def problem(coupled: bool) -> tuple[KernelClassificationFlow, np.ndarray]:
    """A flow, and the Jacobian of the model that it is of: (outputs, samples of both kinds, parameters)."""
    generator = np.random.default_rng(3)
    if coupled:
        jacobian = generator.standard_normal((OUTPUTS, SAMPLES + TEST, 11)) / 3
        whole = jnp.asarray(np.einsum("kip,sjp->kisj", jacobian, jacobian))
        modes = DenseModes.of(whole[:, :SAMPLES, :, :SAMPLES], whole[:, SAMPLES:, :, :SAMPLES])
    else:
        # Fewer features than samples: a singular kernel.
        features = generator.standard_normal((SAMPLES + TEST, 4))
        jacobian = np.einsum("ks,ip->kisp", np.eye(OUTPUTS), features).reshape(OUTPUTS, SAMPLES + TEST, -1)
        shared = jnp.asarray(features @ features.T)
        modes = DenseModes.of(shared[:SAMPLES, :SAMPLES], shared[SAMPLES:, :SAMPLES])
    initial = RegressionOutputs(*(jnp.asarray(generator.standard_normal((OUTPUTS, n))) for n in (SAMPLES, TEST)))
    targets = jnp.asarray(generator.dirichlet(np.ones(OUTPUTS), SAMPLES).T)
    flow = KernelClassificationFlow(modes, targets=targets, loss_scale=Z, initial=initial, classes=OUTPUTS)
    return flow, jacobian


@pytest.mark.parametrize("coupled", [False, True])
def test_the_flow_of_the_parameters(coupled: bool) -> None:
    """SciPy integrates θ̇ = −∇L of f = f₀ + ∇f θ, which knows no kernel."""
    flow, jacobian = problem(coupled)
    start = np.concatenate([np.asarray(flow.initial.train), np.asarray(flow.initial.test)], axis=1)

    def logits(theta: np.ndarray) -> np.ndarray:
        return start + jacobian @ theta

    def slope(_: float, theta: np.ndarray) -> np.ndarray:
        residual = softmax(logits(theta)[:, :SAMPLES], axis=0) - np.asarray(flow.targets)
        return -np.einsum("ki,kip->p", residual, jacobian[:, :SAMPLES]) / Z

    exact = solve_ivp(slope, (0, TIMES[-1]), np.zeros(jacobian.shape[2]), "DOP853", TIMES, rtol=1e-11, atol=1e-12)
    trajectory = solve(flow, flow.start, jnp.asarray(TIMES))
    outputs = flow.outputs(trajectory.states)
    for index, theta in enumerate(exact.y.T):
        both = np.concatenate([np.asarray(outputs.train[index]), np.asarray(outputs.test[index])], axis=1)
        assert relative_difference(both, logits(theta)) <= 1e-8
    log_shares = np.log(softmax(logits(exact.y[:, -1])[:, :SAMPLES], axis=0))
    loss = -np.sum(np.asarray(flow.targets) * log_shares) / Z
    assert float(flow.loss(trajectory.states[-1])) == pytest.approx(loss, rel=1e-8)
    assert float(jnp.max(jnp.abs(trajectory.invariants["coefficient_sums"]))) <= 1e-12


@pytest.mark.parametrize("time", [1e-3, 3.0, 1e6])
def test_one_sample_of_two_classes(time: float) -> None:
    """z = f₁ − f₂ has ż = 2θ/(Z(1 + e^z)), so z + e^z = 1 + 2θt/Z, to large times without loss of digits."""
    theta = 1.7
    flow = KernelClassificationFlow(
        DenseModes.of(jnp.array([[theta]])), targets=jnp.array([[1.0], [0.0]]), loss_scale=Z
    )
    states = solve(flow, flow.start, jnp.array([0.0, time])).states
    z = float(flow.outputs(states).train[-1, 0, 0] - flow.outputs(states).train[-1, 1, 0])
    right = 1 + 2 * theta * time / Z
    exact = right - float(np.real(lambertw(np.exp(right)))) if right < 100 else np.log(right - np.log(right))
    assert z == pytest.approx(exact, rel=1e-8 if right < 100 else 1e-6)


def test_a_linearised_network() -> None:
    """At coefficients a, f_lin has the flow's outputs, and down the gradient of its own loss the flow's derivative."""
    start = network()
    inputs, tests = dataset().inputs, dataset().test_inputs[:5]
    labels = jax.nn.one_hot(dataset().labels, start.readout.weight.shape[0], axis=0, dtype=float)
    flow = KernelClassificationFlow(
        DenseModes.of_network(start, inputs, tests),
        targets=labels,
        loss_scale=Z,
        initial=RegressionOutputs(start.logit_matrix(inputs), start.logit_matrix(tests)),
    )
    a = jax.random.normal(jax.random.key(4), labels.shape) / 10
    linear = LinearizedNetwork(start, displacement_of(start, inputs, a))
    found = flow.outputs(a)
    assert relative_difference(found.train, linear.logit_matrix(inputs)) <= 1e-11
    assert relative_difference(found.test, linear.logit_matrix(tests)) <= 1e-11

    def at(displacement: AbstractClassifier, x: jax.Array) -> jax.Array:
        return LinearizedNetwork(start, displacement).logit_matrix(x)

    def loss(displacement: AbstractClassifier) -> jax.Array:
        return -jnp.sum(labels * jax.nn.log_softmax(at(displacement, inputs), axis=0)) / Z

    slope = jax.tree.map(jnp.negative, jax.grad(loss)(linear.displacement))
    moves = jax.jvp(lambda d: at(d, tests), (linear.displacement,), (slope,))[1]
    predicted = flow.kernel.apply_cross(flow.vector_field(jnp.asarray(0.0), a, None))
    assert relative_difference(predicted, moves) <= 1e-11


@pytest.mark.parametrize(
    ("targets", "classes", "message"),
    [
        (np.ones((2, 3)) / 2, 1, "do not fit"),
        (np.full((2, 4), 0.7), 1, "sum to 1"),
        (np.ones((2, 4)) / 2, 3, "cannot be sorted"),
    ],
)
def test_what_is_refused(targets: np.ndarray, classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KernelClassificationFlow(
            DenseModes.of(jnp.eye(4)), targets=jnp.asarray(targets), loss_scale=1.0, classes=classes
        )


def test_lowering() -> None:
    flow = problem(True)[0]
    zero = jnp.asarray(0.0)
    assert "stablehlo" in lower_for_cuda(lambda f: f.vector_field(zero, f.start, None), flow)
    assert "stablehlo" in lower_for_cuda(lambda f: f.outputs(f.start), flow)
