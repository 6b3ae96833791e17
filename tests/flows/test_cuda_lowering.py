"""Everything that runs on a device lowers to CUDA. No GPU is needed: only the compilation for one is tried."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from flows.paper_equations import random_problem

from ntkflow.flows import (
    AbstractFlow,
    ClassFlow,
    ClassState,
    FrozenKernelFlow,
    Integration,
    InvariantFlow,
    LinearizedFlow,
    ResidualFlow,
    SampleFlow,
    SampleState,
    VaryingKernelFlow,
    integrate,
    random_state,
    sample_residual,
)
from ntkflow.kernels import BlockKernel, IsotropicKernel, MeanTangentKernel, NeuronDiagonalKernel, TangentKernel
from ntkflow.networks import MLP
from ntkflow.training import ParameterFlow, Problem, descend, descent_path

PROBLEM = random_problem(0, classes=3, per_class=4, features=5, outputs=3)
NETWORK = MLP(jax.random.key(0), inputs=4, outputs=3, width=6, hidden_layers=1, features=5, activation="gelu")
INPUTS = jnp.asarray(np.random.default_rng(0).standard_normal((12, 4)))


def flows() -> dict[str, tuple[AbstractFlow, Any]]:
    sample = PROBLEM.state
    features = SampleState(NETWORK.feature_matrix(INPUTS), NETWORK.readout.weight, NETWORK.readout.bias)
    tangent = TangentKernel(NETWORK, INPUTS, "features")
    problem = Problem(INPUTS, jnp.eye(3), 12.0)
    return {
        "sample": (SampleFlow(PROBLEM.kernel, loss_scale=12.0), sample),
        "class": (ClassFlow(PROBLEM.kernel, loss_scale=12.0), ClassState.from_sample(sample, 3)),
        "class in a frame": ClassFlow.starting_at(sample, PROBLEM.kernel, loss_scale=12.0),
        "invariant": InvariantFlow.starting_at(sample, PROBLEM.kernel, loss_scale=12.0),
        "invariant with samples": InvariantFlow.starting_at(sample, PROBLEM.kernel, loss_scale=12.0, samples=True),
        "residual": (ResidualFlow(PROBLEM.kernel, loss_scale=12.0), sample_residual(sample, jnp.eye(3))),
        "frozen": (FrozenKernelFlow(tangent, targets=jnp.eye(3), loss_scale=12.0), features),
        "frozen, a matrix a feature": (
            FrozenKernelFlow(NeuronDiagonalKernel(jnp.ones((5, 12, 12))), targets=jnp.eye(3), loss_scale=12.0),
            features,
        ),
        "frozen, one matrix": (
            FrozenKernelFlow(IsotropicKernel(jnp.eye(12)), targets=jnp.eye(3), loss_scale=12.0),
            features,
        ),
        "varying kernel": (
            VaryingKernelFlow(jnp.asarray([0.0, 1.0]), [tangent, tangent], targets=jnp.eye(3), loss_scale=12.0),
            features,
        ),
        "mean Jacobian": (
            FrozenKernelFlow(
                MeanTangentKernel(descent_path(NETWORK, problem, 0.1, 3), INPUTS, "features"),
                targets=jnp.eye(3),
                loss_scale=12.0,
            ),
            features,
        ),
        "linearised": (
            LinearizedFlow(TangentKernel(NETWORK, INPUTS, "logits"), classes=3, loss_scale=12.0),
            sample_residual(features, jnp.eye(3)),
        ),
        "parameters": (ParameterFlow(NETWORK, problem), eqx.filter(NETWORK, eqx.is_inexact_array)),
    }


@pytest.mark.parametrize(
    "name",
    [
        "sample",
        "class",
        "class in a frame",
        "invariant",
        "invariant with samples",
        "residual",
        "frozen",
        "frozen, a matrix a feature",
        "frozen, one matrix",
        "varying kernel",
        "mean Jacobian",
        "linearised",
        "parameters",
    ],
)
def test_vector_fields(name: str) -> None:
    flow, state = flows()[name]
    text = lower_for_cuda(lambda flow, state: flow.vector_field(jnp.asarray(0.0), state, None), flow, state)
    assert "stablehlo" in text


@pytest.mark.parametrize("method", ["tsit5", "dopri8", "rkc2", "kvaerno5", "kvaerno5_krylov"])
def test_integration(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffrax checks at run time that traced times increase, by a call back to Python, which an export cannot hold (on
    a real GPU it is no obstacle). Hence what EQX_ON_ERROR=off would have done, and a number of times met nowhere else,
    since Equinox keeps the check's trace.
    """
    monkeypatch.setattr("equinox._errors.EQX_ON_ERROR", "off")
    flow, state = flows()["sample"]
    text = lower_for_cuda(integrate, flow, state, jnp.linspace(0.0, 1.0, 7), Integration(method=method))
    assert "stablehlo.while" in text  # Diffrax' loop over steps
    assert "callback" not in text


def test_an_ensemble(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an ensemble is compiled to: states made from keys, eigenbases, and the integration, all under vmap."""
    monkeypatch.setattr("equinox._errors.EQX_ON_ERROR", "off")

    def member(key: jax.Array, kappa: jax.Array) -> jax.Array:
        kernel = BlockKernel(kappa[0], kappa[1], kappa[2], classes=3, per_class=4)
        state = random_state(jax.random.wrap_key_data(key), classes=3, per_class=4, features=5)
        flow, initial = InvariantFlow.starting_at(state, kernel, loss_scale=12.0, all_directions=True)
        moving = jnp.isfinite(flow.eigenvalues).all()
        times = jnp.linspace(0.0, 1.0, 8)
        return integrate(flow, initial, times, Integration("rkc2"), flow.residual_norms, moving).ys

    keys = jax.random.key_data(jax.random.split(jax.random.key(0), 3))
    text = lower_for_cuda(jax.vmap(member), keys, jnp.tile(jnp.asarray([1.9, 1.2, 0.4]), (3, 1)))
    assert "stablehlo.while" in text
    assert "callback" not in text


def test_gradient_descent() -> None:
    problem = Problem(INPUTS, jnp.eye(3), 12.0)
    assert "stablehlo" in lower_for_cuda(descend, NETWORK, problem, jnp.asarray(0.1))


def test_what_cannot_run_on_a_gpu_is_found() -> None:
    """The check can fail: a call back to Python has no place in an exported program."""

    def host(x: jax.Array) -> jax.Array:
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((), x.dtype), x)

    # JAX 0.10 raises ValueError for a callback; NotImplementedError is what a primitive without a rule for CUDA raises.
    with pytest.raises((NotImplementedError, ValueError), match=r"platform cuda|callback"):
        lower_for_cuda(host, jnp.asarray(1.0))
