"""Θ of real random networks by norms of layers: every weight drawn, none kept, no Jacobian."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ntkflow.initialization.conditioned import Ensemble, normals
from ntkflow.initialization.layered_network import LayeredNetwork
from ntkflow.networks import ACTIVATIONS, HOMOGENEOUS


def real_ntk(ensemble: Ensemble, key: PRNGKeyArray, inputs: Float[Array, " features"]) -> Float[Array, ""]:
    """ln Θ(x, x) of the network that :func:`drawn_network` makes of the same key. O(M²) a layer.

    The weights of a layer are drawn from the layer's own key when the forward pass comes by, and again from the same
    key on the way back, so that memory is that of one layer's weights.

    Args:
        ensemble: which networks; ``widest`` is at least n_0 too.
        key: of the draw.
        inputs: x.
    """
    wide, longest = ensemble.widest, len(ensemble.widths)
    phi, homogeneous = ACTIVATIONS[ensemble.activation], ensemble.activation in HOMOGENEOUS
    slope = jax.vmap(jax.grad(phi))

    def forward(layer: Int[Array, ""], carry: tuple[Array, ...]) -> tuple[Array, ...]:
        signal, scale, fields, norms = carry
        weight, bias = _layer(ensemble, key, layer)
        offset = jnp.where(ensemble.sigma_b > 0, bias * jnp.exp(-jnp.where(ensemble.sigma_b > 0, scale, 0.0)), 0.0)
        kept = ensemble.neurons(layer)
        field = jnp.where(kept, weight @ signal + offset, 0.0)
        signal = jnp.where(kept, phi(field), 0.0)
        length = jnp.linalg.norm(signal)
        norms = norms.at[layer].set(2 * (jnp.log(length) + scale), mode="drop")
        if homogeneous:
            factor = jnp.where(length > 0, length, 1.0)
            signal, scale = signal / factor, scale + jnp.log(factor)
        return signal, scale, fields.at[layer - 1].set(field), norms

    first = jnp.zeros(wide).at[: len(inputs)].set(inputs)
    norms = jnp.zeros(longest).at[0].set(jnp.log(jnp.vdot(inputs, inputs)))
    begin = (first, jnp.zeros(()), jnp.zeros((longest, wide)), norms)
    _, _, fields, norms = jax.lax.fori_loop(jnp.asarray(1), ensemble.depth + 1, forward, begin)

    def backward(count: Int[Array, ""], carry: tuple[Array, ...]) -> tuple[Array, ...]:
        delta, scale, total = carry
        layer = ensemble.depth - count
        total = jnp.logaddexp(total, 2 * scale + jnp.logaddexp(norms[layer - 1], 0.0))
        field = fields[jnp.maximum(layer - 2, 0)]
        kept = ensemble.neurons(layer - 1)
        delta = jnp.where(kept, slope(field), 0.0) * (_layer(ensemble, key, layer)[0].T @ delta)
        length = jnp.linalg.norm(delta)
        return delta / jnp.where(length > 0, length, 1.0), scale + jnp.log(length), total

    start = (jnp.zeros(wide).at[0].set(1.0), jnp.zeros(()), jnp.asarray(-jnp.inf))
    return jax.lax.fori_loop(jnp.zeros((), ensemble.depth.dtype), ensemble.depth, backward, start)[2]


def drawn_network(ensemble: Ensemble, key: PRNGKeyArray) -> LayeredNetwork:
    """The arrays of the network whose Θ :func:`real_ntk` gives; not for traced widths or depths."""
    depth = int(ensemble.depth)
    # Through NumPy, so that a program may be traced around an ensemble that is known.
    sizes = [*(int(width) for width in np.asarray(ensemble.widths)[:depth]), 1]
    layers = [_layer(ensemble, key, jnp.asarray(index)) for index in range(1, depth + 1)]
    return LayeredNetwork(
        tuple(weight[: sizes[index + 1], : sizes[index]] for index, (weight, _) in enumerate(layers)),
        tuple(bias[: sizes[index + 1]] for index, (_, bias) in enumerate(layers)),
        ensemble.activation,
    )


def _layer(
    ensemble: Ensemble, key: PRNGKeyArray, layer: Int[Array, ""]
) -> tuple[Float[Array, "widest widest"], Float[Array, " widest"]]:
    wide = ensemble.widest
    drawn = normals(key, layer, wide + 1, wide)
    return ensemble.spread(layer) * drawn[:-1], ensemble.sigma_b * drawn[-1]
