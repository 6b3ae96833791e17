"""Kernels of real networks: ntkflow beside plain JAX, neural-tangents and torch.func; `python benchmarks/kernels.py`.

Prints the tables of docs/benchmarks.md. Every kernel is made in a process of its own, in turns; the peers need
environments of their own (benchmarks/peers/README.md), named by NTKFLOW_PEER_NT and NTKFLOW_PEER_TORCH, and are left
out where these are not set. Block values are timed in this process, in turns with a backward pass of the batch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from timing import in_turns

from ntkflow.kernels import network_block_values
from ntkflow.networks import ResNet, with_statistics_of

PEERS = Path(__file__).parent / "peers"

KERNELS = {
    "mlp-logits-mean": ["ntkflow structured", "ntkflow jacrev", "neural_tangents structured", "torch jacobian"],
    "mlp-logits-full": ["ntkflow structured", "ntkflow jacrev", "neural_tangents structured"],
    "resnet-logits-mean": [
        "ntkflow structured",
        "ntkflow jacrev",
        "neural_tangents structured",
        "neural_tangents jacobian",
        "torch jacobian",
    ],
    "resnet-features-mean": [
        "ntkflow structured",
        "ntkflow jacrev",
        "neural_tangents structured",
        "neural_tangents jacobian",
        "torch jacobian",
    ],
    "resnet-features-full": ["ntkflow structured", "ntkflow jacrev", "neural_tangents jacobian", "torch jacobian"],
}


def main() -> None:
    """The sections that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", default=["kernels", "blocks"], help="kernels, blocks")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kernel", action="append", choices=list(KERNELS), help="may be repeated; all by default")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything run?")
    options = parser.parse_args()
    if "kernels" in options.sections:
        for kernel in options.kernel or KERNELS:
            kernels(kernel, options.repeats, smoke=options.smoke)
    if "blocks" in options.sections:
        blocks(options.repeats, smoke=options.smoke)


def kernels(kernel: str, repeats: int, *, smoke: bool) -> None:
    """One kernel in every library that is here."""
    pythons = {
        "ntkflow": sys.executable,
        "neural_tangents": os.environ.get("NTKFLOW_PEER_NT"),
        "torch": os.environ.get("NTKFLOW_PEER_TORCH"),
    }
    print(f"\n{kernel}\n  {'':<30} {'s':>8} {'from – to':>16} {'cpu s':>8} {'memory':>9} {'norm':>12} {'ratio':>7}")
    own: float | None = None
    for name in KERNELS[kernel]:
        library, way = name.split()
        python = pythons[library]
        if python is None:
            print(f"  {name:<30} left out: no interpreter named")
            continue
        found = _case(python, library, f"{kernel}-{way}", repeats, smoke=smoke)
        if found is None:
            continue
        seconds = statistics.median(found["seconds"])
        own = seconds if own is None else own
        spread = f"{min(found['seconds']):.3g} – {max(found['seconds']):.3g}"
        # Libraries alone take some hundred megabytes: what counts is what the kernel adds to them.
        memory = (found["peak_rss"] - found["start_rss"]) / 1e9
        print(
            f"  {name:<30} {seconds:>8.3g} {spread:>16} {statistics.median(found['cpu_seconds']):>8.3g} "
            f"{memory:>6.2f} GB {found['norm']:>12.6g} {seconds / own:>7.3g}",
            flush=True,
        )


def blocks(repeats: int, *, smoke: bool) -> None:
    """Block values of the features' kernel of a ResNet20 with n = 64 on 120 inputs, in backward passes of the batch."""
    depth, size, per_class = (8, 8, 3) if smoke else (20, 28, 12)
    x = jax.random.normal(jax.random.key(1), (10 * per_class, 1, size, size), jnp.float32)
    network = with_statistics_of(ResNet(jax.random.key(0), input_channels=1, outputs=10, depth=depth), x)

    @eqx.filter_jit
    def backward(network: ResNet, x: jax.Array) -> Any:
        return eqx.filter_grad(lambda network: jax.vmap(network.features)(x).sum())(network)

    @eqx.filter_jit
    def gradients(network: ResNet, x: jax.Array) -> Any:
        """The papers' scheme for one feature: a gradient a sample."""
        return jax.vmap(lambda x: eqx.filter_grad(lambda network: network.features(x)[0])(network))(x)

    def measured(random_outputs: int | None) -> jax.Array:
        key = None if random_outputs is None else jax.random.key(2)
        found = network_block_values(network, x, 10, of="features", random_outputs=random_outputs, key=key)
        return jnp.asarray(found.values)

    times = in_turns(
        {
            "a backward pass of the batch": lambda: eqx.filter(backward(network, x), eqx.is_array),
            "gradients of all samples, one feature": lambda: eqx.filter(gradients(network, x), eqx.is_array),
            "block values, all 64 features": lambda: measured(None),
            "block values, 8 random combinations": lambda: measured(8),
        },
        repeats=repeats,
    )
    unit = times["a backward pass of the batch"].seconds
    print(f"\nBlock values, {len(x)} inputs")
    for name, time in times.items():
        print(f"  {name:<42} {time!s:<32} {time.seconds / unit:>8.3g} passes")
    scheme = times["gradients of all samples, one feature"].seconds * 64 * 780 / len(x)
    name, extrapolated = "the papers: 780 gradients a feature", f"{scheme:.3g} s, extrapolated"
    print(f"  {name:<42} {extrapolated:<32} {scheme / unit:>8.3g} passes")


def _case(python: str, library: str, case: str, repeats: int, *, smoke: bool) -> dict[str, Any] | None:
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [python, str(PEERS / f"{library}_kernels.py"), "--case", case, "--repeats", str(repeats)]
    done = subprocess.run(
        [*command, *(["--smoke"] if smoke else [])],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "OMP_WAIT_POLICY": "passive"},
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        print(f"  {library} {case}: no result: {reason}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
