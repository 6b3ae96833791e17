"""The frozen-kernel flow against what the parameters of real networks do."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.paper_equations import flattened
from kernels.dense import block_matrix, relative_difference
from kernels.jacobians import shaken
from networks.plain_mlp import arrays
from scipy.integrate import solve_ivp

from ntkflow.flows import FrozenKernelFlow, SampleFlow, SampleState, solve
from ntkflow.kernels import BlockKernel, TangentKernel
from ntkflow.networks import MLP

Z = 5.0


def state_of(network: MLP, inputs: jax.Array) -> SampleState:
    return SampleState(network.feature_matrix(inputs), network.readout.weight, network.readout.bias)


def parameter_flow(network: MLP, inputs: jax.Array, targets: jax.Array) -> MLP:
    """−∇‖f(X) − Y‖²/(2Z), Y repeated by hand."""
    labels = np.arange(len(inputs)) // (len(inputs) // targets.shape[1])
    columns = targets[:, labels]
    gradient = eqx.filter_grad(lambda net: jnp.sum((net.logit_matrix(inputs) - columns) ** 2) / (2 * Z))(network)
    return jax.tree.map(jnp.negative, gradient)


@eqx.filter_jit
def exact_velocity(network: MLP, inputs: jax.Array, targets: jax.Array) -> SampleState:
    """d/dt of (H, W, b) when the parameters follow the gradient flow: the derivative of the network along it."""
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    velocity = parameter_flow(network, inputs, targets)
    moving = lambda parameters: state_of(eqx.combine(parameters, rest), inputs)  # noqa: E731
    return jax.jvp(moving, (parameters,), (velocity,))[1]


@pytest.mark.parametrize(("activation", "hidden_layers"), [("tanh", 2), ("relu", 1)])
def test_vector_field_is_the_motion_of_the_features(activation: str, hidden_layers: int) -> None:
    key = jax.random.key(0)
    network = shaken(
        MLP(key, inputs=4, outputs=3, width=6, hidden_layers=hidden_layers, features=5, activation=activation)
    )
    inputs = jnp.asarray(np.random.default_rng(1).standard_normal((12, 4)))
    targets = jnp.asarray(np.random.default_rng(2).standard_normal((3, 3)))
    flow = FrozenKernelFlow(TangentKernel(network, inputs, "features"), targets=targets, loss_scale=Z)
    actual = eqx.filter_jit(flow.vector_field)(jnp.asarray(0.0), state_of(network, inputs), None)
    expected = exact_velocity(network, inputs, targets)
    for name in ("features", "weight", "bias"):
        assert relative_difference(getattr(actual, name), getattr(expected, name)) <= 1e-12
    residual = network.logit_matrix(inputs) - jnp.repeat(targets, 4, axis=1)
    assert relative_difference(flow.residual(state_of(network, inputs)), residual) <= 1e-14
    assert abs(float(flow.loss(state_of(network, inputs))) / (float(jnp.sum(residual**2)) / (2 * Z)) - 1) <= 1e-13
    assert flow.invariants(state_of(network, inputs)) == {}


def exactly_block() -> tuple[MLP, jax.Array, BlockKernel]:
    """A network whose Θʰ is a block kernel, between two features 0, and constant in time.

    One linear layer h = V x + a has Θʰ_{p,q}(x, x') = δ_{p,q}(⟨x, x'⟩ + 1), so the inputs' Gram matrix is the block
    kernel less 1 everywhere, which stays one.
    """
    inputs = np.linalg.cholesky(block_matrix(1.9, 1.2, 0.4, 3, 4))
    kernel = BlockKernel(2.9, 2.2, 1.4, classes=3, per_class=4)
    network = MLP(jax.random.key(3), inputs=12, outputs=3, width=1, hidden_layers=0, features=5, activation="linear")
    return shaken(network), jnp.asarray(inputs), kernel


def trained(network: MLP, inputs: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """H, W, b after the gradient flow of the parameters of W(Vx + a) + b, by SciPy and a gradient by hand."""
    start = arrays(network)
    cuts = np.cumsum([array.size for array in start])[:-1]
    labels = np.eye(3)[:, np.arange(12) // 4]

    def unpack(flat: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(array.shape) for part, array in zip(np.split(flat, cuts), start, strict=True)]

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        v, a, w, b = unpack(flat)
        h = v @ inputs.T + a[:, None]
        r = (w @ h + b[:, None] - labels) / Z
        gradient = [w.T @ r @ inputs, w.T @ r.sum(axis=1), r @ h.T, r.sum(axis=1)]
        return -np.concatenate([array.ravel() for array in gradient])

    flat = np.concatenate([array.ravel() for array in start])
    solution = solve_ivp(field, (0, time), flat, method="DOP853", rtol=1e-12, atol=1e-14)
    v, a, w, b = unpack(solution.y[:, -1])
    return v @ inputs.T + a[:, None], w, b


def test_on_a_network_with_an_exact_block_kernel_all_flows_are_one() -> None:
    """Real training, the frozen kernel and (19) agree: here nothing is an assumption."""
    network, inputs, kernel = exactly_block()
    targets = jnp.eye(3)
    start = state_of(network, inputs)
    frozen = FrozenKernelFlow(TangentKernel(network, inputs, "features"), targets=targets, loss_scale=Z)
    sample = SampleFlow(kernel, loss_scale=Z)
    velocity = exact_velocity(network, inputs, targets)
    for flow in (frozen, sample):
        field = eqx.filter_jit(flow.vector_field)(jnp.asarray(0.0), start, None)
        assert relative_difference(flattened(field), flattened(velocity)) <= 1e-13

    # And not only at the start.
    end = trained(network, np.asarray(inputs), 1.0)
    assert relative_difference(flattened(end), flattened(start)) > 0.1
    for flow in (frozen, sample):
        forecast = solve(flow, start, jnp.linspace(0.0, 1.0, 5)).state_at(-1)
        assert relative_difference(flattened(forecast), flattened(end)) <= 1e-9


def test_the_kernel_of_the_logits_is_refused() -> None:
    network, inputs, _ = exactly_block()
    with pytest.raises(ValueError, match="needs the kernel of the features, not of the logits"):
        FrozenKernelFlow(TangentKernel(network, inputs, "logits"), targets=jnp.eye(3), loss_scale=1.0)
