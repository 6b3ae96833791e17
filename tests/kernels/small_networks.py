"""Small networks with brute-force Jacobians: what the engine's structured sums are compared with."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ntkflow.networks import MLP


class SmallConvolution(eqx.Module):
    """Two convolutions, one of them strided, a dense layer of features, a readout; biases everywhere."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    dense: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        keys = jax.random.split(key, 4)
        self.first = eqx.nn.Conv2d(2, 3, 3, padding=1, key=keys[0])
        self.second = eqx.nn.Conv2d(3, 4, 3, stride=2, key=keys[1])
        self.dense = eqx.nn.Linear(16, 5, key=keys[2])
        self.readout = eqx.nn.Linear(5, 3, key=keys[3])

    def features(self, x: jax.Array) -> jax.Array:
        hidden = jnp.tanh(self.second(jnp.tanh(self.first(x))))
        return jnp.tanh(self.dense(hidden.reshape(-1)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.readout(self.features(x))


def small_mlp(seed: int = 0) -> MLP:
    """Four inputs, five features, three outputs; no bias is 0."""
    network = MLP(jax.random.key(seed), inputs=4, outputs=3, width=7, hidden_layers=1, features=5, activation="tanh")
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + 0.2 * generator.standard_normal(leaf.shape), network)


def jacobian(network: Any, inputs: jax.Array, of: str) -> np.ndarray:
    """Reverse mode with respect to every parameter, sample by sample: (samples, outputs, parameters)."""
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)

    def outputs(parameters: Any, x: jax.Array) -> jax.Array:
        whole = eqx.combine(parameters, rest)
        return whole.features(x) if of == "features" else whole(x)

    found = jax.jit(jax.vmap(jax.jacrev(outputs), (None, 0)))(parameters, inputs)
    return np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(found)], axis=-1)
