"""Products with the Hessian of the training loss, and with its Gauss–Newton part, piece by piece."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from ntkflow.networks import AbstractClassifier
from ntkflow.training.observations.forward import pieces_of
from ntkflow.training.observations.objective import Objective

Part = Literal["hessian", "gauss_newton"]


class Curvature:
    """∇²L or Jᵀ(∂²ℓ/∂f²)J of the loss of some samples, as a symmetric matrix over all parameters.

    For the squared error the Gauss–Newton part is JᵀJ/Z, whose eigenvalues other than 0 are those of Θ/Z over all pairs
    (output, sample). Products are in the network's precision. Constants, as stored statistics, have no derivative.

    Args:
        network: a function of one sample.
        inputs: the samples, sorted by class, the same number of each.
        targets: of the classes.
        objective: the loss, with the Z of these samples.
        piece: samples that go through the network at once.
        part: which matrix.
    """

    def __init__(
        self,
        network: AbstractClassifier,
        inputs: Float[Array, "samples ..."],
        targets: Float[Array, "classes classes"],
        objective: Objective,
        piece: int,
        part: Part,
    ) -> None:
        per_class = inputs.shape[0] // targets.shape[1]
        self._network, self._targets, self._objective = network, targets, objective
        self._part: Part = part
        self._pieces = [
            (item.inputs, jnp.asarray(item.places // per_class), jnp.asarray(item.weights))
            for item in pieces_of(inputs, piece)
        ]

    def start(self) -> Float[Array, " parameters"]:
        """A random direction, always the same."""
        return _direction(self._network)

    def product(self, vector: Float[Array, " parameters"]) -> Float[Array, " parameters"]:
        """The matrix times a vector, in the order of the network's arrays."""
        total: Array | None = None
        for inputs, labels, weights in self._pieces:
            arguments = self._network, inputs, self._targets, labels, weights, vector
            share = _product(*arguments, self._objective, self._part)
            # Waiting for each piece bounds what is held at once.
            total = jax.block_until_ready(share if total is None else _plus(total, share))
        assert total is not None
        return total


@eqx.filter_jit
def _direction(network: AbstractClassifier) -> Float[Array, " parameters"]:
    flat, _ = ravel_pytree(eqx.filter(network, eqx.is_inexact_array))
    return jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)


@eqx.filter_jit
def _product(
    network: AbstractClassifier,
    inputs: Float[Array, "piece ..."],
    targets: Float[Array, "classes classes"],
    labels: Int[Array, " piece"],
    weights: Float[Array, " piece"],
    vector: Float[Array, " parameters"],
    objective: Objective,
    part: Part,
) -> Float[Array, " parameters"]:
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    tangent = ravel_pytree(parameters)[1](vector)

    def logits(parameters: Any) -> Float[Array, "classes piece"]:
        return eqx.combine(parameters, rest).logit_matrix(inputs)

    def loss(logits: Float[Array, "classes piece"]) -> Float[Array, ""]:
        return objective.total(logits, targets, labels, weights)

    if part == "hessian":
        found = jax.jvp(jax.grad(lambda parameters: loss(logits(parameters))), (parameters,), (tangent,))[1]
    else:
        values, moved = jax.jvp(logits, (parameters,), (tangent,))
        curved = jax.jvp(jax.grad(loss), (values,), (moved,))[1]
        (found,) = jax.vjp(logits, parameters)[1](curved)
    return ravel_pytree(found)[0]


@jax.jit
def _plus(first: Array, second: Array) -> Array:
    return first + second


def dense(curvature: Curvature) -> Float[np.ndarray, "parameters parameters"]:
    """The whole matrix, column by column: for small networks."""
    identity = np.eye(curvature.start().size)
    dtype = curvature.start().dtype
    return np.stack([np.asarray(curvature.product(jnp.asarray(column, dtype))) for column in identity], axis=1)
