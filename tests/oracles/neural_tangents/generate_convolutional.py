"""Makes convolutional.npz with neural-tangents: `python generate_convolutional.py [--check]`; see README.md.

Kernels of infinitely wide convolutional networks, in float64. Runs in the environment of generate.py, without ntkflow.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import platform
import sys
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import neural_tangents as nt  # noqa: E402
from neural_tangents import stax  # noqa: E402

HERE = Path(__file__).parent / "infinite"
DEPTHS = (1, 2, 3, 4, 5)
HEADS = ("flatten", "pooling")
SIGMA_B = (0.0, 0.1)
# Name: filter size, σ_w and the images, channels first, that the kernels are of.
SIZES = {"square": (3, 2**0.5, (4, 3, 8, 8)), "oblong": (5, 1.3, (3, 2, 6, 4))}


def images(name: str) -> np.ndarray:
    """Samples from N(0, 1), exact in float32; the first two are close to each other, the last one has black patches."""
    shape = SIZES[name][2]
    values = np.random.default_rng(len(name)).standard_normal(shape)
    values[1] = values[0] + 1e-2 * values[1]
    values[-1, :, : 3 * shape[2] // 4] = 0
    return values.astype(np.float32)


def network(depth: int, filter_size: int, head: str, sigma_w: float, sigma_b: float) -> nt.typing.KernelFn:
    """The kernels of ``depth`` convolutions with ReLU, a head and a dense layer."""
    layers = []
    for _ in range(depth):
        layers.append(stax.Conv(1, (filter_size,) * 2, padding="SAME", W_std=sigma_w, b_std=sigma_b))
        layers.append(stax.Relu())
    layers.append(stax.Flatten() if head == "flatten" else stax.GlobalAvgPool())
    layers.append(stax.Dense(1, W_std=sigma_w, b_std=sigma_b))
    return stax.serial(*layers)[2]


def arrays() -> dict[str, np.ndarray]:
    """Everything that is stored: images NAME, kernels NAME/HEAD/σ_b/KIND of (depths, samples, samples)."""
    stored = {}
    for name, (filter_size, sigma_w, _) in SIZES.items():
        stored[name] = images(name)
        x = stored[name].astype(np.float64).transpose(0, 2, 3, 1)
        for head, sigma_b in itertools.product(HEADS, SIGMA_B):
            kernels = [network(depth, filter_size, head, sigma_w, sigma_b)(x, None) for depth in DEPTHS]
            for kind in ("nngp", "ntk"):
                stored[f"{name}/{head}/{sigma_b}/{kind}"] = np.stack([getattr(of, kind) for of in kernels])
    for name, value in stored.items():
        if not np.all(np.isfinite(value)):
            raise SystemExit(f"{name} is not finite")
    return stored


def main() -> None:
    """Writes the archive and its record, or compares with the one that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the hash would change")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    record = HERE / "values.json"
    if parser.parse_args().check:
        sys.exit(0 if json.loads(record.read_text())["sha256"]["convolutional.npz"] == digest else "changed")
    HERE.mkdir(exist_ok=True)
    (HERE / "convolutional.npz").write_bytes(buffer.getvalue())
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    versions |= {"neural-tangents": nt.__version__, "jax": jax.__version__, "numpy": np.__version__}
    files = (json.loads(record.read_text())["sha256"] if record.exists() else {}) | {"convolutional.npz": digest}
    record.write_text(json.dumps({"versions": versions, "sha256": files}, indent=2) + "\n")


if __name__ == "__main__":
    main()
