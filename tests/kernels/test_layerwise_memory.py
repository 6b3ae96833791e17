"""The layer-wise kernels never hold an array of the size of the parameter Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ntkflow.kernels import layer_factors
from ntkflow.networks import MLP

SAMPLES, FEATURES = 12, 20


def jaxprs(value: Any) -> Iterator[Any]:
    """The jaxprs within one parameter of an equation: a closed one, an open one, or a sequence of them."""
    if hasattr(value, "jaxpr"):
        value = value.jaxpr
    if hasattr(value, "eqns"):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from jaxprs(item)


def sizes(jaxpr: Any) -> Iterator[int]:
    """Sizes of all arrays in a computation, inner ones too."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            yield variable.aval.size
        for value in equation.params.values():
            for inner in jaxprs(value):
                yield from sizes(inner)


def largest(function: Callable[..., Any], *arguments: Any) -> int:
    closed, *_ = eqx.filter_make_jaxpr(function)(*arguments)
    return max(sizes(closed.jaxpr))


def test_largest_array() -> None:
    network = MLP(jax.random.key(0), inputs=30, outputs=5, width=40, hidden_layers=2, features=FEATURES)
    inputs = jnp.ones((SAMPLES, 30))
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(parameters)

    def jacobian(inputs: jax.Array) -> jax.Array:
        return jax.jacrev(lambda flat: eqx.combine(unravel(flat), rest).feature_matrix(inputs))(flat)

    def layerwise(network: MLP, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        factors = layer_factors(network, inputs)
        return factors.traced_feature_kernel(), factors.traced_logit_kernel()

    whole = SAMPLES * FEATURES * flat.size
    # The inspection sees the Jacobian where there is one.
    assert largest(jacobian, inputs) >= whole
    assert largest(layerwise, network, inputs) <= whole / 50
