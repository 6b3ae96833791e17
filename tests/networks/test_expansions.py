"""First-order expansions: against finite differences, their own kernel, descent in closed form, and the lazy limit."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from training.tiny import STEP, Z, dataset, network, problem

from ntkflow.flows import DenseModes, KernelRegressionFlow, RegressionOutputs
from ntkflow.kernels import empirical_ntk
from ntkflow.networks import MLP, AbstractClassifier, LazyNetwork, LinearizedNetwork, displacement_of
from ntkflow.training import Problem, descend

INPUTS = dataset().inputs
TESTS = dataset().test_inputs[:5]


def parameters(of: AbstractClassifier) -> AbstractClassifier:
    return eqx.filter(of, eqx.is_inexact_array)


def direction() -> AbstractClassifier:
    leaves, structure = jax.tree.flatten(parameters(network()))
    keys = jax.random.split(jax.random.key(5), len(leaves))
    return jax.tree.unflatten(
        structure, [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    )


def moved(by: AbstractClassifier, share: float) -> MLP:
    return eqx.apply_updates(network(), jax.tree.map(lambda leaf: share * leaf, by))


def test_against_finite_differences() -> None:
    """The error of the expansion is quadratic in the displacement."""
    errors = []
    for share in (1e-2, 1e-3):
        small = jax.tree.map(lambda leaf, share=share: share * leaf, direction())
        linear, real = LinearizedNetwork(network(), small), moved(direction(), share)
        for method in ("logit_matrix", "feature_matrix"):
            errors.append(float(jnp.abs(getattr(linear, method)(TESTS) - getattr(real, method)(TESTS)).max()))
        np.testing.assert_allclose(linear.readout.weight, real.readout.weight, rtol=1e-12)
        assert linear.parameter_count() == network().parameter_count()
    for large, tiny in zip(errors[:2], errors[2:], strict=True):
        assert 80 < large / tiny < 125
    start = LinearizedNetwork(network())
    np.testing.assert_array_equal(start.logit_matrix(TESTS), network().logit_matrix(TESTS))


def test_its_kernel_is_the_networks_wherever_it_is() -> None:
    far = LinearizedNetwork(network(), direction())
    expected = empirical_ntk(network(), INPUTS, of="logits", trace="sum").values
    np.testing.assert_allclose(empirical_ntk(far, INPUTS, of="logits", trace="sum").values, expected, rtol=1e-10)


def regression(initial: RegressionOutputs | None = None) -> KernelRegressionFlow:
    """From the network's own outputs unless told."""
    own = RegressionOutputs(network().logit_matrix(INPUTS), network().logit_matrix(TESTS))
    modes = DenseModes.of_network(network(), INPUTS, TESTS)
    return KernelRegressionFlow(modes, targets=dataset().target_matrix, loss_scale=Z, initial=initial or own)


@eqx.filter_jit
def descended(at: AbstractClassifier, problem: Problem, step_size: Array, steps: Array) -> AbstractClassifier:
    moving, rest = eqx.partition(at, eqx.is_inexact_array)
    step = lambda _, now: eqx.filter(descend(eqx.combine(now, rest), problem, step_size), eqx.is_inexact_array)  # noqa: E731
    return eqx.combine(jax.lax.fori_loop(0, steps, step, moving), rest)


def test_descent_is_that_of_kernel_regression() -> None:
    trained = descended(LinearizedNetwork(network()), problem(), jnp.asarray(STEP), jnp.asarray(80))
    expected = jax.tree.map(lambda leaf: leaf[0], regression().after_steps(STEP, jnp.asarray([80.0])))
    np.testing.assert_allclose(trained.logit_matrix(INPUTS), expected.train, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(trained.logit_matrix(TESTS), expected.test, rtol=1e-9, atol=1e-12)
    # θ₀ stays where it is.
    for ours, theirs in zip(
        jax.tree.leaves(parameters(trained.at)), jax.tree.leaves(parameters(network())), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_parameters_of_the_flow_in_closed_form() -> None:
    """Their f_lin is the regression's output, and they move along the negative gradient."""
    flow, times = regression(), jnp.asarray([0.0, 3.0, 40.0])
    outputs, coefficients = flow.at(times), flow.coefficients(times)
    for index in range(3):
        at = LinearizedNetwork(network(), displacement_of(network(), INPUTS, coefficients[index]))
        np.testing.assert_allclose(at.logit_matrix(INPUTS), outputs.train[index], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(at.logit_matrix(TESTS), outputs.test[index], rtol=1e-9, atol=1e-12)
    width = 1e-3
    before, after = (
        displacement_of(network(), INPUTS, item) for item in flow.coefficients(3 + width * jnp.array([-1.0, 1.0]))
    )
    middle = LinearizedNetwork(network(), displacement_of(network(), INPUTS, coefficients[1]))
    gradient = eqx.filter_grad(lambda item: problem().loss(item)[0])(middle).displacement
    for one, other, slope in zip(*(jax.tree.leaves(item) for item in (before, after, gradient)), strict=True):
        np.testing.assert_allclose((other - one) / (2 * width), -slope, rtol=1e-5, atol=1e-9)


def test_the_lazy_limit() -> None:
    """Distance from the linearised network, started at 0 too, falls like 1/α."""
    flow = regression(RegressionOutputs(jnp.zeros((3, 12)), jnp.zeros((3, 5))))
    expected = flow.after_steps(STEP, jnp.asarray([80.0])).test[0]
    distances = []
    for scale in (20.0, 80.0):
        lazy = LazyNetwork(network(), scale)
        assert not np.any(lazy.logit_matrix(TESTS))
        scaled = Problem(problem().inputs, problem().targets, Z * scale**2)
        trained = descended(lazy, scaled, jnp.asarray(STEP), jnp.asarray(80))
        distances.append(float(jnp.linalg.norm(trained.logit_matrix(TESTS) - expected)))
    assert distances[0] < 0.1 * float(jnp.linalg.norm(expected))
    assert 3.5 < distances[0] / distances[1] < 4.5
    with pytest.raises(ValueError, match=r"scale must be positive, not 0"):
        LazyNetwork(network(), 0.0)
