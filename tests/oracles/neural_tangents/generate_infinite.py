"""Makes the infinite-width kernels in this folder with neural-tangents: `python generate_infinite.py [--check]`.

In the environment of generate.py (requirements.txt), without ntkflow; see README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from typing import Any

import jax
import numpy as np
from generate import HERE, archive, nt, stax  # restores what the library misses, and float64
from jax import numpy as jnp

DEPTHS = (1, 2, 3, 5, 10, 20)
PRECISIONS = ("float64", "float32")
# Weights at the edge of chaos for ReLU, and off it; do_backprop and the like stay as the library has them.
NETWORKS = {
    "relu": (stax.Relu, 2**0.5, 0.0),
    "relu_bias": (stax.Relu, 1.3, 0.1),
    "erf": (stax.Erf, 1.5, 0.0),
    "erf_bias": (stax.Erf, 1.5, 0.1),
}


def samples() -> np.ndarray:
    """Seven inputs of 12 numbers and of different norms, exact in float32; the last is near the first."""
    drawn = np.random.default_rng(20).standard_normal((7, 12)) * np.linspace(0.5, 2, 7)[:, None]
    drawn[6] = drawn[0] + 0.05 * drawn[1]
    return drawn.astype(np.float32)


def kernels(activation: Any, weight: float, bias: float, depth: int, inputs: Any) -> Any:
    """NNGP and NTK of a network with ``depth`` layers of weights in the NTK parametrisation."""
    layers = []
    for layer in range(depth):
        layers += [stax.Dense(1, W_std=weight, b_std=bias, parameterization="ntk")]
        layers += [activation()] if layer < depth - 1 else []
    _, _, kernel = stax.serial(*layers)
    return jax.jit(lambda x: kernel(x, None, ("nngp", "ntk")))(inputs)


def made() -> dict[str, np.ndarray]:
    """Inputs, and (depth, samples, samples) for every network, kernel and precision."""
    x = samples()
    stored: dict[str, np.ndarray] = {"inputs": x, "depths": np.asarray(DEPTHS)}
    for name, (activation, weight, bias) in NETWORKS.items():
        stored[f"{name}/scales"] = np.asarray([weight, bias])
        for precision in PRECISIONS:
            found = [kernels(activation, weight, bias, depth, jnp.asarray(x, precision)) for depth in DEPTHS]
            stored[f"{name}/nngp/{precision}"] = np.stack([np.asarray(one.nngp) for one in found])
            stored[f"{name}/ntk/{precision}"] = np.stack([np.asarray(one.ntk) for one in found])
    return stored


def main() -> None:
    """Writes infinite/fully_connected.npz and infinite/values.json, or compares with those that are there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the hash would change")
    check = parser.parse_args().check
    content = archive(made())
    files = {"fully_connected.npz": hashlib.sha256(content).hexdigest()}
    folder = HERE / "infinite"
    path = folder / "values.json"
    if check:
        stored = json.loads(path.read_text())["sha256"]
        changed = sorted(name for name, value in files.items() if stored.get(name) != value)
        sys.exit(f"changed: {', '.join(changed)}" if changed else 0)
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    versions |= {"neural-tangents": nt.__version__, "jax": jax.__version__, "numpy": np.__version__}
    folder.mkdir(exist_ok=True)
    (folder / "fully_connected.npz").write_bytes(content)
    others = json.loads(path.read_text())["sha256"] if path.exists() else {}
    path.write_text(json.dumps({"versions": versions, "sha256": others | files}, indent=2) + "\n")


if __name__ == "__main__":
    main()
