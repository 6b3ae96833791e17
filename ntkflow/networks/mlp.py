"""Fully-connected networks with the feature/readout split."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks.activations import ACTIVATIONS, Activation
from ntkflow.networks.classifier import AbstractClassifier, Readout
from ntkflow.networks.initializers import Initialization, normal_weight


class Dense(eqx.Module):
    """One affine layer z = W a + b."""

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]

    def __call__(self, a: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        """Pre-activations of one sample."""
        return self.weight @ a + self.bias


class MLP(AbstractClassifier):
    """A fully-connected network: hidden layers of one width, the layer of features, then the linear readout.

    Every layer but the readout is followed by the activation, the layer of features too. Inputs of any shape are
    flattened.

    Args:
        key: source of the initial weights; biases start at 0.
        inputs: number of input coordinates.
        outputs: number of classes C.
        width: neurons of each hidden layer.
        hidden_layers: hidden layers before the layer of features.
        features: last-layer features n.
        activation: one of :data:`ntkflow.networks.ACTIVATIONS`.
        initialization: of all layers but the readout, which is linear and always starts at N(0, 1/n).
    """

    layers: tuple[Dense, ...]
    readout: Readout
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        *,
        inputs: int,
        outputs: int,
        width: int,
        hidden_layers: int,
        features: int,
        activation: Activation = "relu",
        initialization: Initialization = "he_normal",
    ) -> None:
        sizes = [inputs, *[width] * hidden_layers, features]
        *layer_keys, readout_key = jax.random.split(key, len(sizes))
        self.layers = tuple(
            Dense(normal_weight(layer_key, size_out, size_in, initialization), jnp.zeros(size_out))
            for layer_key, size_in, size_out in zip(layer_keys, sizes[:-1], sizes[1:], strict=True)
        )
        self.readout = Readout(normal_weight(readout_key, outputs, features, "lecun_normal"), jnp.zeros(outputs))
        self.activation = activation

    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        """Last-layer features h(x) of one sample."""
        activation = ACTIVATIONS[self.activation]
        a = x.reshape(-1)
        for layer in self.layers:
            a = activation(layer(a))
        return a
