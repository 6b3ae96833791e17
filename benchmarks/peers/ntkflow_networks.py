"""The timed networks as ntkflow's own, with the same numbers as the peers': for ntkflow's environment."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from peer_problems import EPSILON, Problem

from ntkflow.networks import MLP, ResNet, Statistics


def mlp(problem: Problem) -> MLP:
    """The MLP of ``peer_problems.mlp_problem``."""
    layers = problem.parameters
    (width, inputs), (outputs, features) = layers[0]["weight"].shape, layers[-1]["weight"].shape
    network = MLP(
        jax.random.key(0),
        inputs=inputs,
        outputs=outputs,
        width=width,
        hidden_layers=len(layers) - 2,
        features=features,
    )
    return eqx.tree_at(
        lambda network: [array for layer in (*network.layers, network.readout) for array in (layer.weight, layer.bias)],
        network,
        [jnp.asarray(layer[name]) for layer in layers for name in ("weight", "bias")],
    )


def resnet(problem: Problem) -> ResNet:
    """The residual network of ``peer_problems.resnet_problem``; its statistics are no parameters."""
    parameters, constants = problem.parameters, problem.constants
    blocks = parameters["blocks"]
    per_stage = len(blocks) // 3
    stages = [block["second"]["weight"].shape[0] for block in blocks[::per_stage]]
    network = ResNet(
        jax.random.key(0),
        input_channels=parameters["stem"]["weight"].shape[1],
        outputs=parameters["readout"]["weight"].shape[0],
        depth=2 * len(blocks) + 2,
        channels=(stages[0], stages[1], stages[2]),
        shortcut="projection",
        dtype=parameters["stem"]["weight"].dtype,
    )
    found = [(network.stem, parameters["stem"], constants["stem"])]
    for block, numbers, statistics in zip(network.blocks, blocks, constants["blocks"], strict=True):
        found += [(getattr(block, name), numbers[name], statistics[name]) for name in numbers]
    network = eqx.tree_at(_convolutions, network, [_layer(*parts) for parts in found])
    readout = [jnp.asarray(parameters["readout"][name]) for name in ("weight", "bias")]
    return eqx.tree_at(lambda network: [network.readout.weight, network.readout.bias], network, readout)


def _convolutions(network: ResNet) -> list[Any]:
    parts = [part for block in network.blocks for part in (block.first, block.second, block.projection)]
    return [network.stem, *(part for part in parts if part is not None)]


def _layer(layer: Any, numbers: Any, statistics: Any) -> Any:
    if layer.norm.eps != EPSILON:
        raise ValueError(f"normalisations of the peers add {EPSILON} to variances, this one {layer.norm.eps}")
    mean, variance = jnp.asarray(statistics["mean"]), jnp.asarray(statistics["variance"])
    return eqx.tree_at(
        lambda layer: [layer.convolution.weight, layer.norm.gain, layer.norm.shift, layer.norm.statistics],
        layer,
        [*(jnp.asarray(numbers[name]) for name in ("weight", "gain", "shift")), Statistics(mean, variance, 1)],
    )
