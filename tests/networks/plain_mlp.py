"""A fully-connected network in plain NumPy, and its Jacobian by complex steps: no JAX, no reverse mode."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from ntkflow.networks import MLP

ACTIVATIONS = {
    "relu": lambda z: np.where(z.real > 0, z, 0),
    "tanh": np.tanh,
    "erf": erf,
    "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
    "linear": lambda z: z,
}


def arrays(network: MLP) -> list[np.ndarray]:
    """Weight and bias of every layer, the readout's last."""
    layers = [*network.layers, network.readout]
    return [np.asarray(array) for layer in layers for array in (layer.weight, layer.bias)]


def forward(arrays: list[np.ndarray], inputs: np.ndarray, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits, samples as columns."""
    *hidden, weight, bias = arrays
    a = inputs.reshape(len(inputs), -1).T
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        a = ACTIVATIONS[activation](w @ a + b[:, None])
    return a, weight @ a + bias[:, None]


def jacobians(network: MLP, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """∂features/∂θ and ∂logits/∂θ over all parameters, (neurons, samples, parameters), exact to rounding.

    Im f(θ + iε)/ε is f' up to ε², and nothing cancels, so ε may be far below rounding.
    """
    parameters = [array.astype(complex) for array in arrays(network)]
    columns: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for array in parameters:
        for index in np.ndindex(array.shape):
            array[index] += 1e-30j
            for column, output in zip(columns, forward(parameters, inputs, network.activation), strict=True):
                column.append(output.imag / 1e-30)
            array[index] -= 1e-30j
    return np.stack(columns[0], axis=-1), np.stack(columns[1], axis=-1)
