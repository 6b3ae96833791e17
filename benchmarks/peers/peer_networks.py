"""The timed networks as JAX functions (parameters, inputs) → outputs, for any version of JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from peer_problems import EPSILON, Problem

Function = Callable[[Any, Any], Any]


def parameters_of(problem: Problem, of: str) -> Any:
    """The parameters that move the outputs, dense weights as inputs × outputs.

    So that a dense layer is ``a @ W``: neural-tangents' structured derivatives are of the operation that a parameter
    enters first. With ``a @ W.T`` that is the transposition, whose whole Jacobian they take: the MLP's kernel takes
    hundreds of times as long then. The readout does not move the features; nobody is made to carry its zeros.
    """
    parameters = jax.tree_util.tree_map(jnp.asarray, problem.parameters)
    if isinstance(parameters, list):
        layers = [_transposed(layer) for layer in parameters]
        return [*layers[:-1], {}] if of == "features" else layers
    return {**parameters, "readout": {} if of == "features" else _transposed(parameters["readout"])}


def mlp(of: str) -> Function:
    """The MLP's features or logits of a batch; parameters from :func:`parameters_of`."""

    def outputs(parameters: Any, x: Any) -> Any:
        for layer in parameters[:-1]:
            x = jax.nn.relu(_dense(layer, x))
        return x if of == "features" else _dense(parameters[-1], x)

    return outputs


def resnet(problem: Problem, of: str) -> Function:
    """The residual network's features or logits of a batch of images; parameters from :func:`parameters_of`."""
    statistics = jax.tree_util.tree_map(jnp.asarray, problem.constants)

    def normalised(layer: Any, constants: Any, a: Any, stride: int = 1) -> Any:
        pad = layer["weight"].shape[-1] // 2
        z = jax.lax.conv_general_dilated(a, layer["weight"], (stride, stride), [(pad, pad)] * 2)
        scaled = (z - _channels(constants["mean"])) / jnp.sqrt(_channels(constants["variance"]) + EPSILON)
        return _channels(layer["gain"]) * scaled + _channels(layer["shift"])

    def outputs(parameters: Any, x: Any) -> Any:
        a = jax.nn.relu(normalised(parameters["stem"], statistics["stem"], x))
        for block, constants, stride in zip(parameters["blocks"], statistics["blocks"], problem.strides, strict=True):
            z = jax.nn.relu(normalised(block["first"], constants["first"], a, stride))
            z = normalised(block["second"], constants["second"], z)
            if "projection" in block:
                a = normalised(block["projection"], constants["projection"], a, stride)
            a = jax.nn.relu(a + z)
        features = jnp.mean(a, axis=(2, 3))
        return features if of == "features" else _dense(parameters["readout"], features)

    return outputs


def _dense(layer: Any, a: Any) -> Any:
    return a @ layer["weight"] + layer["bias"]


def _transposed(layer: Any) -> Any:
    return {"weight": layer["weight"].T, "bias": layer["bias"]}


def _channels(vector: Any) -> Any:
    return vector[:, None, None]
