"""Makes the reference kernels in this folder with neural-tangents: `python generate.py [--check]`; see README.md.

Runs in an environment of its own (requirements.txt), without ntkflow. Every network is a function of explicit
parameters; parameters, inputs, outputs and kernels are stored, so that whoever compares needs no neural-tangents.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax._src import source_info_util
from jax.interpreters import ad

# neural-tangents 0.6.5 reads these two names when it replays a program for structured derivatives; jax took them away.
ad.source_info_util = source_info_util
ad.config = jax.config

import neural_tangents as nt  # noqa: E402
from neural_tangents import stax  # noqa: E402

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent
SAMPLES, FEATURES, CLASSES = 6, 4, 3
EPSILON = 1e-5
PRECISIONS = ("float64", "float32")
IMPLEMENTATIONS = {
    "jacobian": nt.NtkImplementation.JACOBIAN_CONTRACTION,
    "structured": nt.NtkImplementation.STRUCTURED_DERIVATIVES,
    "ntvp": nt.NtkImplementation.NTK_VECTOR_PRODUCTS,
}

Arrays = dict[str, Any]
Function = Callable[[Arrays, Any], Any]  # (parameters, samples) → (samples, outputs)


def draw(seed: int, shapes: dict[str, tuple[int, ...]]) -> Arrays:
    """Normal parameters of size √(2 / fan-in), biases and gains off their usual start; all exact in float32."""
    generator = np.random.default_rng(seed)
    drawn = {}
    for name, shape in shapes.items():
        noise = generator.standard_normal(shape)
        if name.endswith("gain"):
            value = 1 + 0.3 * noise
        elif len(shape) == 1:
            value = 0.3 * noise
        else:
            value = noise * np.sqrt(2 / np.prod(shape[1:]))
        drawn[name] = value.astype(np.float32)
    return drawn


def inputs(seed: int, *shape: int) -> np.ndarray:
    """Samples from N(0, 1), exact in float32."""
    return np.random.default_rng(1000 + seed).standard_normal((SAMPLES, *shape)).astype(np.float32)


def dense(p: Arrays, name: str, a: Any) -> Any:
    """W a + b for every sample.

    Not ``a @ W.T``: structured derivatives are of the operation that a parameter enters first, and of a transposition
    neural-tangents takes the whole Jacobian.
    """
    return lax.dot_general(a, p[f"{name}.weight"], (((1,), (1,)), ((), ()))) + p[f"{name}.bias"]


def convolve(p: Arrays, name: str, a: Any, stride: int = 1) -> Any:
    """Cross-correlation, zero padding that keeps the size at stride 1; NCHW and OIHW; a bias where there is one.

    As many groups as the channels of ``a`` are of the channels of the weights.
    """
    weight = p[f"{name}.weight"]
    pad = weight.shape[-1] // 2
    z = lax.conv_general_dilated(
        a,
        weight,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        feature_group_count=a.shape[1] // weight.shape[1],
    )
    return z + p[f"{name}.bias"][:, None, None] if f"{name}.bias" in p else z


def max_pool(a: Any) -> Any:
    """Maximum over 2×2 windows that do not overlap."""
    return lax.reduce_window(a, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def average_pool(a: Any) -> Any:
    """Mean over 2×2 windows that do not overlap."""
    samples, channels, height, width = a.shape
    return a.reshape(samples, channels, height // 2, 2, width // 2, 2).mean((3, 5))


def dense_relu() -> tuple[Arrays, Arrays, np.ndarray, Function]:
    """7-9-8-4 ReLU, standard parametrisation."""
    parameters = draw(27, {
        "layer0.weight": (9, 7), "layer0.bias": (9,),
        "layer1.weight": (8, 9), "layer1.bias": (8,),
        "layer2.weight": (FEATURES, 8), "layer2.bias": (FEATURES,),
    })  # fmt: skip

    def features(p: Arrays, x: Any) -> Any:
        for layer in range(3):
            x = jax.nn.relu(dense(p, f"layer{layer}", x))
        return x

    return parameters, {}, inputs(1, 7), features


def convolution() -> tuple[Arrays, Arrays, np.ndarray, Function]:
    """2×8×8; 3×3 convolutions with biases, the second in two groups, two kinds of pooling, a dense layer."""
    parameters = draw(2, {
        "conv0.weight": (4, 2, 3, 3), "conv0.bias": (4,),
        "conv1.weight": (6, 2, 3, 3), "conv1.bias": (6,),
        "dense.weight": (FEATURES, 24), "dense.bias": (FEATURES,),
    })  # fmt: skip

    def features(p: Arrays, x: Any) -> Any:
        a = jax.nn.relu(max_pool(convolve(p, "conv0", x)))
        a = average_pool(jnp.tanh(convolve(p, "conv1", a)))
        return jnp.tanh(dense(p, "dense", a.reshape(a.shape[0], -1)))

    return parameters, {}, inputs(2, 2, 8, 8), features


def residual() -> tuple[Arrays, Arrays, np.ndarray, Function]:
    """1×6×6; an identity block, a block of stride 2 with a 1×1 convolution as shortcut, global average pooling."""
    parameters = draw(8, {
        "stem.weight": (3, 1, 3, 3), "stem.bias": (3,),
        "same0.weight": (3, 3, 3, 3), "same1.weight": (3, 3, 3, 3),
        "down0.weight": (FEATURES, 3, 3, 3), "down1.weight": (FEATURES, FEATURES, 3, 3),
        "shortcut.weight": (FEATURES, 3, 1, 1),
    })  # fmt: skip

    def features(p: Arrays, x: Any) -> Any:
        a = jax.nn.relu(convolve(p, "stem", x))
        a = jax.nn.relu(a + convolve(p, "same1", jax.nn.relu(convolve(p, "same0", a))))
        b = convolve(p, "down1", jax.nn.relu(convolve(p, "down0", a, stride=2)))
        return jax.nn.relu(convolve(p, "shortcut", a, stride=2) + b).mean((2, 3))

    return parameters, {}, inputs(3, 1, 6, 6), features


def normalised() -> tuple[Arrays, Arrays, np.ndarray, Function]:
    """2×5×5; convolutions normalised by stored statistics (constants), trained gain and shift, global average pooling.

    The second normalisation stands on a shortcut, so that it is followed by a sum and not by its own activation.
    """
    parameters = draw(4, {
        "conv0.weight": (4, 2, 3, 3), "norm0.gain": (4,), "norm0.shift": (4,),
        "conv1.weight": (FEATURES, 4, 3, 3), "norm1.gain": (FEATURES,), "norm1.shift": (FEATURES,),
    })  # fmt: skip
    generator = np.random.default_rng(44)
    constants: Arrays = {}
    for name, channels in (("norm0", 4), ("norm1", FEATURES)):
        constants[f"{name}.mean"] = 0.5 * generator.standard_normal(channels).astype(np.float32)
        constants[f"{name}.variance"] = generator.uniform(0.5, 3, channels).astype(np.float32)

    def normalise(p: Arrays, name: str, z: Any) -> Any:
        mean, variance = (jnp.asarray(constants[f"{name}.{what}"], z.dtype) for what in ("mean", "variance"))
        scaled = (z - mean[:, None, None]) / jnp.sqrt(variance + EPSILON)[:, None, None]
        return p[f"{name}.gain"][:, None, None] * scaled + p[f"{name}.shift"][:, None, None]

    def features(p: Arrays, x: Any) -> Any:
        a = jax.nn.relu(normalise(p, "norm0", convolve(p, "conv0", x)))
        return jax.nn.relu(a + normalise(p, "norm1", convolve(p, "conv1", a))).mean((2, 3))

    return parameters, constants, inputs(4, 2, 5, 5), features


def with_readout(seed: int, parameters: Arrays, features: Function) -> tuple[Arrays, dict[str, Function]]:
    """The features and, with a linear readout on top, the logits: both as functions of all parameters."""
    shapes = {"readout.weight": (CLASSES, FEATURES), "readout.bias": (CLASSES,)}
    functions = {"features": features, "logits": lambda p, x: dense(p, "readout", features(p, x))}
    return {**parameters, **draw(seed, shapes)}, functions


def dense_erf() -> tuple[Arrays, Arrays, np.ndarray, dict[str, Function]]:
    """6-8-4 erf in the NTK parametrisation, z = σ_w W a / √inputs + σ_b b, built from neural-tangents' own layers.

    Their weights are inputs × outputs.
    """
    sizes, scales = (6, 8, FEATURES, CLASSES), ((1.5, 0.3), (1.2, 0.5), (1.0, 0.4))
    generator = np.random.default_rng(5)
    parameters, layers = {}, []
    for layer, (fan_in, fan_out, (weight_scale, bias_scale)) in enumerate(
        zip(sizes[:-1], sizes[1:], scales, strict=True)
    ):
        name = "readout" if layer == 2 else f"layer{layer}"
        parameters[f"{name}.weight"] = generator.standard_normal((fan_in, fan_out)).astype(np.float32)
        parameters[f"{name}.bias"] = generator.standard_normal(fan_out).astype(np.float32)
        layers.append(stax.Dense(fan_out, W_std=weight_scale, b_std=bias_scale, parameterization="ntk"))
    _, features, _ = stax.serial(layers[0], stax.Erf(), layers[1], stax.Erf())
    _, logits, _ = stax.serial(layers[0], stax.Erf(), layers[1], stax.Erf(), layers[2])

    def tree(p: Arrays, depth: int) -> list[tuple[Any, ...]]:
        pairs = [(p[f"{name}.weight"], p[f"{name}.bias"]) for name in ("layer0", "layer1", "readout")]
        return [pairs[0], (), pairs[1], (), pairs[2]][:depth]

    functions: dict[str, Function] = {
        "features": lambda p, x: features(tree(p, 4), x),
        "logits": lambda p, x: logits(tree(p, 5), x),
    }
    constants = {
        f"{name}.scales": np.array(pair) for name, pair in zip(("layer0", "layer1", "readout"), scales, strict=True)
    }
    return parameters, constants, inputs(5, 6), functions


def reference(parameters: Arrays, constants: Arrays, samples: np.ndarray, functions: dict[str, Function]) -> Arrays:
    """Everything that is stored of one network, under the names that README.md lists."""
    stored: Arrays = {"inputs": samples}
    stored |= {f"parameter/{name}": value for name, value in parameters.items()}
    stored |= {f"constant/{name}": value for name, value in constants.items()}
    for of, function in functions.items():
        for precision in PRECISIONS:
            p = {name: jnp.asarray(value, precision) for name, value in parameters.items()}
            x = jnp.asarray(samples, precision)
            values = stored[f"outputs/{of}/{precision}"] = np.asarray(function(p, x))
            # Where a ReLU is off there is no kernel to compare.
            if np.any(np.mean(values == 0, axis=0) > 0.5):
                raise SystemExit("an output is 0 for most samples: choose another seed")
            for name, implementation in IMPLEMENTATIONS.items():
                for trace, axes in (("full", ()), ("mean", (-1,))):
                    kernel = nt.empirical_ntk_fn(function, trace_axes=axes, vmap_axes=0, implementation=implementation)
                    stored[f"kernel/{of}/{trace}/{precision}/{name}"] = kernel(x, None, p)
    arrays = {name: np.asarray(value) for name, value in stored.items()}
    for name, value in arrays.items():
        if not np.all(np.isfinite(value)):
            raise SystemExit(f"{name} is not finite")
    return arrays


def disagreement(arrays: Arrays, of: str, trace: str, precision: str) -> float:
    """Largest difference of two implementations at one precision, relative to the largest entry."""
    kernels = [arrays[f"kernel/{of}/{trace}/{precision}/{name}"] for name in IMPLEMENTATIONS]
    return float(max(np.max(np.abs(kernel - kernels[0])) for kernel in kernels) / np.max(np.abs(kernels[0])))


def networks() -> dict[str, Arrays]:
    """The stored arrays of every network."""
    made = {}
    for seed, network in enumerate((dense_relu, convolution, residual, normalised), start=101):
        parameters, constants, samples, features = network()
        parameters, functions = with_readout(seed, parameters, features)
        made[network.__name__] = reference(parameters, constants, samples, functions)
    made["dense_erf"] = reference(*dense_erf())
    return made


def archive(arrays: Arrays) -> bytes:
    """The bytes of an .npz; NumPy writes no times into it, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def main() -> None:
    """Writes the .npz files and values.json, or compares with those that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if any hash would change")
    check = parser.parse_args().check
    files, agreement = {}, {}
    for name, arrays in networks().items():
        content = archive(arrays)
        files[f"{name}.npz"] = hashlib.sha256(content).hexdigest()
        agreement[name] = {
            precision: max(
                disagreement(arrays, of, trace, precision)
                for of in ("features", "logits")
                for trace in ("full", "mean")
            )
            for precision in PRECISIONS
        }
        if not check:
            (HERE / f"{name}.npz").write_bytes(content)
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    versions |= {"neural-tangents": nt.__version__, "jax": jax.__version__, "numpy": np.__version__}
    record = {"versions": versions, "sha256": files, "largest relative disagreement of the implementations": agreement}
    path = HERE / "values.json"
    if not check:
        path.write_text(json.dumps(record, indent=2) + "\n")
        return
    stored = json.loads(path.read_text())["sha256"]
    changed = sorted(name for name in stored.keys() | files.keys() if stored.get(name) != files.get(name))
    sys.exit(f"changed: {', '.join(changed)}" if changed else 0)


if __name__ == "__main__":
    main()
