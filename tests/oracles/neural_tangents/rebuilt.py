"""The networks of the stored references again, as Equinox modules of one sample, from their stored parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

HERE = Path(__file__).parent
EPSILON = 1e-5  # As in generate.py.
_KEY = jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class Reference:
    """What is stored of one network."""

    name: str
    arrays: dict[str, np.ndarray]

    def inputs(self, precision: str) -> Array:
        return jnp.asarray(self.arrays["inputs"], precision)

    def outputs(self, of: str, precision: str) -> np.ndarray:
        return self.arrays[f"outputs/{of}/{precision}"]

    def kernel(self, of: str, precision: str, implementation: str = "jacobian") -> np.ndarray:
        """Θ as (outputs, samples, outputs, samples); neural-tangents has the samples first."""
        return self.arrays[f"kernel/{of}/full/{precision}/{implementation}"].transpose(2, 0, 3, 1)

    def mean_kernel(self, of: str, precision: str, implementation: str = "jacobian") -> np.ndarray:
        """The trace over outputs divided by their number, (samples, samples)."""
        return self.arrays[f"kernel/{of}/mean/{precision}/{implementation}"]

    def network(self, precision: str) -> Any:
        """The network as an Equinox module whose arrays all have one precision."""
        parameters = {
            name.removeprefix("parameter/"): jnp.asarray(value, precision)
            for name, value in self.arrays.items()
            if name.startswith("parameter/")
        }
        constants = {
            name.removeprefix("constant/"): value for name, value in self.arrays.items() if name.startswith("constant/")
        }
        return NETWORKS[self.name](parameters, constants)


@functools.cache
def reference(name: str) -> Reference:
    with np.load(HERE / f"{name}.npz") as stored:
        return Reference(name, dict(stored))


def linear(parameters: dict[str, Array], name: str) -> eqx.nn.Linear:
    weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    layer = eqx.nn.Linear(weight.shape[1], weight.shape[0], key=_KEY)
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (weight, bias))


def convolution(parameters: dict[str, Array], name: str, stride: int = 1, groups: int = 1) -> eqx.nn.Conv2d:
    weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
    outputs, inputs, window, _ = weight.shape
    layer = eqx.nn.Conv2d(
        inputs * groups,
        outputs,
        window,
        stride,
        padding=window // 2,
        groups=groups,
        use_bias=bias is not None,
        key=_KEY,
    )
    layer = eqx.tree_at(lambda layer: layer.weight, layer, weight)
    return layer if bias is None else eqx.tree_at(lambda layer: layer.bias, layer, bias[:, None, None])


class DenseReLU(eqx.Module):
    layers: tuple[eqx.nn.Linear, ...]
    readout: eqx.nn.Linear

    def __init__(self, parameters: dict[str, Array], constants: dict[str, np.ndarray]) -> None:
        self.layers = tuple(linear(parameters, f"layer{index}") for index in range(3))
        self.readout = linear(parameters, "readout")

    def features(self, x: Float[Array, " inputs"]) -> Float[Array, " features"]:
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return self.readout(self.features(x))


class NTKLinear(eqx.Module):
    """z = σ_w W a / √inputs + σ_b b, whose parameters all start at N(0, 1)."""

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]
    weight_scale: float = eqx.field(static=True)
    bias_scale: float = eqx.field(static=True)

    def __call__(self, a: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return self.weight_scale / np.sqrt(a.size).item() * (self.weight @ a) + self.bias_scale * self.bias


class DenseErf(eqx.Module):
    layers: tuple[NTKLinear, ...]
    readout: NTKLinear

    def __init__(self, parameters: dict[str, Array], constants: dict[str, np.ndarray]) -> None:
        def layer(name: str) -> NTKLinear:
            scales = constants[f"{name}.scales"].tolist()
            # Stored as neural-tangents has it, inputs × outputs.
            return NTKLinear(parameters[f"{name}.weight"].T, parameters[f"{name}.bias"], *scales)

        self.layers = (layer("layer0"), layer("layer1"))
        self.readout = layer("readout")

    def features(self, x: Float[Array, " inputs"]) -> Float[Array, " features"]:
        for layer in self.layers:
            x = jax.scipy.special.erf(layer(x))
        return x

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return self.readout(self.features(x))


class Convolutional(eqx.Module):
    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    dense: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, parameters: dict[str, Array], constants: dict[str, np.ndarray]) -> None:
        self.first = convolution(parameters, "conv0")
        self.second = convolution(parameters, "conv1", groups=2)
        self.dense = linear(parameters, "dense")
        self.readout = linear(parameters, "readout")

    def features(self, x: Float[Array, "channels rows columns"]) -> Float[Array, " features"]:
        a = jax.nn.relu(eqx.nn.MaxPool2d(2, 2)(self.first(x)))
        a = eqx.nn.AvgPool2d(2, 2)(jnp.tanh(self.second(a)))
        return jnp.tanh(self.dense(a.reshape(-1)))

    def __call__(self, x: Float[Array, "channels rows columns"]) -> Float[Array, " outputs"]:
        return self.readout(self.features(x))


class Residual(eqx.Module):
    stem: eqx.nn.Conv2d
    same: tuple[eqx.nn.Conv2d, eqx.nn.Conv2d]
    down: tuple[eqx.nn.Conv2d, eqx.nn.Conv2d]
    shortcut: eqx.nn.Conv2d
    readout: eqx.nn.Linear

    def __init__(self, parameters: dict[str, Array], constants: dict[str, np.ndarray]) -> None:
        self.stem = convolution(parameters, "stem")
        self.same = (convolution(parameters, "same0"), convolution(parameters, "same1"))
        self.down = (convolution(parameters, "down0", stride=2), convolution(parameters, "down1"))
        self.shortcut = convolution(parameters, "shortcut", stride=2)
        self.readout = linear(parameters, "readout")

    def features(self, x: Float[Array, "channels rows columns"]) -> Float[Array, " features"]:
        a = jax.nn.relu(self.stem(x))
        a = jax.nn.relu(a + self.same[1](jax.nn.relu(self.same[0](a))))
        b = self.down[1](jax.nn.relu(self.down[0](a)))
        return jnp.mean(jax.nn.relu(self.shortcut(a) + b), axis=(1, 2))

    def __call__(self, x: Float[Array, "channels rows columns"]) -> Float[Array, " outputs"]:
        return self.readout(self.features(x))


class Normalisation(eqx.Module):
    """Normalisation by stored statistics: gain and shift are parameters, mean and variance are not."""

    gain: Float[Array, " channels"]
    shift: Float[Array, " channels"]
    mean: Float[Array, " channels"]
    variance: Float[Array, " channels"]

    def __call__(self, z: Float[Array, "channels rows columns"]) -> Float[Array, "channels rows columns"]:
        mean, variance = jax.lax.stop_gradient((self.mean, self.variance))
        scaled = (z - mean[:, None, None]) * jax.lax.rsqrt(variance + EPSILON)[:, None, None]
        return self.gain[:, None, None] * scaled + self.shift[:, None, None]


class Normalised(eqx.Module):
    convolutions: tuple[eqx.nn.Conv2d, eqx.nn.Conv2d]
    norms: tuple[Normalisation, Normalisation]
    readout: eqx.nn.Linear

    def __init__(self, parameters: dict[str, Array], constants: dict[str, np.ndarray]) -> None:
        def norm(name: str) -> Normalisation:
            gain = parameters[f"{name}.gain"]
            statistics = (jnp.asarray(constants[f"{name}.{what}"], gain.dtype) for what in ("mean", "variance"))
            return Normalisation(gain, parameters[f"{name}.shift"], *statistics)

        self.convolutions = (convolution(parameters, "conv0"), convolution(parameters, "conv1"))
        self.norms = (norm("norm0"), norm("norm1"))
        self.readout = linear(parameters, "readout")

    def features(self, x: Float[Array, "channels rows columns"]) -> Float[Array, " features"]:
        a = jax.nn.relu(self.norms[0](self.convolutions[0](x)))
        return jnp.mean(jax.nn.relu(a + self.norms[1](self.convolutions[1](a))), axis=(1, 2))

    def __call__(self, x: Float[Array, "channels rows columns"]) -> Float[Array, " outputs"]:
        return self.readout(self.features(x))


NETWORKS: dict[str, Callable[[dict[str, Array], dict[str, np.ndarray]], Any]] = {
    "dense_relu": DenseReLU,
    "dense_erf": DenseErf,
    "convolution": Convolutional,
    "residual": Residual,
    "normalised": Normalised,
}
