"""The order of an image's axes: channels first, as layers give them, or last, as a pass over a batch computes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.networks.statistics import BatchAxis


def channels_last(a: Float[Array, "channels *positions"]) -> Float[Array, "*positions channels"]:
    """The same values, channels last. Between layers that compute so, XLA cancels it with :func:`channels_first`."""
    return jnp.moveaxis(a, 0, -1)


def channels_first(a: Float[Array, "*positions channels"]) -> Float[Array, "channels *positions"]:
    """The same values, channels first."""
    return jnp.moveaxis(a, -1, 0)


def relu_of_sum(
    *summands: Float[Array, "channels *positions"], batch_axis: BatchAxis | None
) -> Float[Array, "channels *positions"]:
    """max(0, Σ) of arrays of one shape; in a pass over a batch computed with channels last, like its neighbours.

    Sums and derivatives with channels first would stand between layers that compute with channels last, and XLA would
    copy what comes in and what goes out. Its value is computed once (:func:`computed_once`).
    """
    if batch_axis is None:
        return jax.nn.relu(sum(summands[1:], summands[0]))
    last = [channels_last(a) for a in summands]
    return channels_first(computed_once(jax.nn.relu(sum(last[1:], last[0]))))


def computed_once(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """The same values, which XLA stores where several operations need them.

    On CPUs XLA computes sums, products and maxima again for each operation that reads them, with everything that they
    are made of: of a residual network's sums, all blocks before. Divisions it holds too dear for that, so this is one,
    by a 1 that it cannot see.
    """
    return a / jax.lax.optimization_barrier(jnp.ones((), a.dtype))
