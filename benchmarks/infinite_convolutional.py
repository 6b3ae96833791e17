"""Infinite-width convolutional kernels beside neural-tangents: `python benchmarks/infinite_convolutional.py`.

Prints the table of docs/theory/infinite-width-convolutional.md. Every kernel is made in a process of its own. The peer
needs the environment of benchmarks/peers/README.md, named by NTKFLOW_PEER_NT, and is left out where it is not set.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

PEERS = Path(__file__).parent / "peers"


def main() -> None:
    """The chosen heads in both libraries, and how far from the memory's limit they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--head", action="append", choices=("flatten", "pooling"), help="may be repeated")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-repeats", type=int, default=1, help="with pooling the peer takes minutes")
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    bandwidth = copied_bytes_per_second()
    for head in options.head or ["flatten", "pooling"]:
        print(f"\n{head}, {options.images} images of 3×{options.size}×{options.size}, {options.precision}")
        print(
            f"  {'':<16} {'s':>8} {'from – to':>17} {'cpu s':>8} {'memory':>9} {'peak':>9} {'norm':>12} {'ratios':>15}"
        )
        peer = os.environ.get("NTKFLOW_PEER_NT")
        own: tuple[float, float] | None = None
        for library, python in (("ntkflow", sys.executable), ("neural_tangents", peer)):
            if python is None:
                print(f"  {library:<16} left out: no interpreter named")
                continue
            slow = library != "ntkflow" and head == "pooling"
            found = measured(python, library, head, options.peer_repeats if slow else options.repeats, options)
            seconds, work = (statistics.median(found[name]) for name in ("seconds", "cpu_seconds"))
            own = own or (seconds, work)
            spread = f"{min(found['seconds']):.3g} – {max(found['seconds']):.3g}"
            print(
                f"  {library:<16} {seconds:>8.3g} {spread:>17} {work:>8.3g} "
                f"{(found['peak_rss'] - found['start_rss']) / 1e9:>6.2f} GB {found['peak_rss'] / 1e9:>6.2f} GB "
                f"{found['norm']:>12.6g} {seconds / own[0]:>7.3g} {work / own[1]:>7.3g}",
                flush=True,
            )
        if own is None:
            continue
        pairs = options.images * (options.images + 1) // 2
        positions = options.size ** (2 if head == "flatten" else 4)
        # Two arrays over all pairs of positions, read and written once a layer.
        traffic = pairs * options.depth * positions * 4 * (4 if options.precision == "float32" else 8)
        limit = traffic / bandwidth
        print(
            f"  copies run at {bandwidth / 1e9:.1f} GB/s, one core: two arrays read and written once a layer and "
            f"pair,\n  {traffic / 1e9:.3g} GB, would take {limit:.3g} s; ntkflow's CPU time is {own[1] / limit:.2f} "
            f"times that,\n  {own[1] / (pairs * options.depth * positions) * 1e9:.3g} ns a pair of positions and layer"
        )
    print(f"\nload after: {os.getloadavg()[0]:.2f}")


def copied_bytes_per_second() -> float:
    """Bytes read and written by copies of an array that no cache holds, best of five."""
    source = np.ones(2**26, np.float32)
    target = np.zeros_like(source)
    seconds = []
    for _ in range(5):
        clock = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - clock)
    return 2 * source.nbytes / min(seconds)


def measured(python: str, library: str, head: str, repeats: int, options: argparse.Namespace) -> dict[str, Any]:
    """Times, memory and norm of one kernel, made by a process of its own."""
    command = [python, str(PEERS / f"{library}_infinite_convolutional.py"), "--head", head, "--repeats", str(repeats)]
    for name in ("images", "size", "depth", "precision"):
        command += [f"--{name}", str(getattr(options, name))]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{library}, {head}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
