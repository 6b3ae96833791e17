"""The kernel of a mean Jacobian: against dense ones, and where samples slide along a kink."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from kernels.dense import relative_difference
from kernels.jacobians import shaken

from ntkflow.flows import FrozenKernelFlow, Integration, SampleState, solve
from ntkflow.kernels import MeanTangentKernel, TangentKernel
from ntkflow.networks import MLP, AbstractClassifier, Readout
from ntkflow.training import Problem, descend, descent_path

INPUTS = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3)))
NETWORK = shaken(MLP(jax.random.key(1), inputs=3, outputs=2, width=5, hidden_layers=1, features=4, activation="relu"))
PROBLEM = Problem(INPUTS, jnp.eye(2), 3.0)


def jacobian(network: AbstractClassifier, of: str) -> np.ndarray:
    """Of all outputs at all samples (rows) with respect to all parameters, by reverse mode."""
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(parameters)

    def outputs(flat: Float[Array, " parameters"]) -> Float[Array, " outputs"]:
        network = eqx.combine(unravel(flat), rest)
        return (network.feature_matrix(INPUTS) if of == "features" else network.logit_matrix(INPUTS)).ravel()

    return np.asarray(jax.jacrev(outputs)(flat))


@pytest.mark.parametrize("of", ["features", "logits"])
def test_apply_against_the_mean_of_dense_jacobians(of: str) -> None:
    networks = [NETWORK]
    for _ in range(4):
        networks.append(descend(networks[-1], PROBLEM, 0.5))
    kernel = MeanTangentKernel(descent_path(NETWORK, PROBLEM, 0.5, 5), INPUTS, of)
    shape = kernel.output_shape()
    assert shape == (4 if of == "features" else 2, 6)
    array = np.random.default_rng(2).standard_normal(shape)
    mean = np.mean([jacobian(network, of) for network in networks], axis=0)
    expected = (mean @ (mean.T @ array.ravel())).reshape(shape)
    assert relative_difference(eqx.filter_jit(kernel.apply)(jnp.asarray(array)), expected) <= 1e-12
    # Of one moment it is the kernel of that moment, and of several it is another.
    once = MeanTangentKernel(descent_path(NETWORK, PROBLEM, 0.5, 1), INPUTS, of)
    of_moment = TangentKernel(NETWORK, INPUTS, of).apply(jnp.asarray(array))
    assert relative_difference(once.apply(jnp.asarray(array)), np.asarray(of_moment)) <= 1e-13
    assert relative_difference(of_moment, expected) > 1e-3


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="leading axis"):
        MeanTangentKernel(NETWORK, INPUTS, "features")
    with pytest.raises(ValueError, match="not of the logits"):
        FrozenKernelFlow(
            MeanTangentKernel(descent_path(NETWORK, PROBLEM, 0.5, 2), INPUTS, "logits"),
            targets=jnp.eye(2),
            loss_scale=1.0,
        )


class OneUnit(AbstractClassifier):
    """h(x) = relu(v + x) with one parameter v, and a readout."""

    readout: Readout
    value: Float[Array, ""]

    def features(self, x: Float[Array, " 1"]) -> Float[Array, " 1"]:
        return jax.nn.relu(self.value + x)


@pytest.mark.slow
def test_a_sample_that_slides_along_the_kink() -> None:
    """One unit, samples at 0 and 1. The first pulls v down, by 3, while it is active; the second always up, by 1.

    So v stays at 0, and h₁ with it. The kernel of either side lets features move.
    """
    network = OneUnit(Readout(jnp.asarray([[1.0], [1.0]]), jnp.zeros(2)), jnp.asarray(0.0))
    problem = Problem(jnp.asarray([[0.0], [1.0]]), jnp.asarray([[-1.5, 1.5], [-1.5, 1.5]]), 1.0)
    step, count = 1e-3, 50
    real = network
    for _ in range(count):
        real = descend(real, problem, step)
    assert abs(float(real.value)) < 5 * step
    found = {}
    for name, kernel in {
        "mean": MeanTangentKernel(descent_path(network, problem, step, 12), problem.inputs, "features"),
        "active": TangentKernel(eqx.tree_at(lambda n: n.value, network, jnp.asarray(1e-9)), problem.inputs, "features"),
        "not": TangentKernel(eqx.tree_at(lambda n: n.value, network, jnp.asarray(-1e-9)), problem.inputs, "features"),
    }.items():
        state = SampleState(network.feature_matrix(problem.inputs), network.readout.weight, network.readout.bias)
        flow = FrozenKernelFlow(kernel, targets=problem.targets, loss_scale=1.0)
        end = solve(flow, state, jnp.asarray([0.0, step * count]), Integration(rtol=1e-9, atol=1e-11)).state_at(1)
        found[name] = float(jnp.linalg.norm(end.features - real.feature_matrix(problem.inputs)))
    assert found["mean"] < 0.25 * min(found["active"], found["not"]), found
