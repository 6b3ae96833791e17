"""Kernels of infinite width, ntkflow beside neural-tangents: `python benchmarks/infinite_width.py [--smoke]`.

Prints the table of docs/benchmarks.md. Both make the NNGP and the NTK of the same inputs; every case runs in a process
of its own, the libraries in turns, several times over. neural-tangents needs an environment of its own
(benchmarks/peers/README.md), named by NTKFLOW_PEER_NT, and is left out where this is not set.
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

PEERS = Path(__file__).parent / "peers"
PRECISIONS = ("float32", "float64")
KERNELS = {
    "fc-relu": "fully connected, ReLU",
    "fc-erf": "fully connected, erf",
}
"""Names of the cases in peers/*_infinite.py, and what they are."""


def main() -> None:
    """One row a kernel and precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kernel", action="append", choices=list(KERNELS), help="may be repeated; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each library, in turns")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs in each process")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything run?")
    options = parser.parse_args()
    peer = os.environ.get("NTKFLOW_PEER_NT")
    print(
        "| kernel | precision | ntkflow | neural-tangents | ratio | CPU | memory, ntkflow | neural-tangents | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kernel in options.kernel or KERNELS:
        for precision in PRECISIONS:
            row(kernel, precision, peer, options.rounds, options.repeats, smoke=options.smoke)


def row(kernel: str, precision: str, peer: str | None, rounds: int, repeats: int, *, smoke: bool) -> None:
    """Both libraries in turns; medians over all repetitions, the largest memory."""
    pythons = {"ntkflow": sys.executable} | ({"neural_tangents": peer} if peer else {})
    found: dict[str, list[dict[str, Any]]] = {library: [] for library in pythons}
    for _ in range(rounds):
        for library, python in pythons.items():
            found[library].append(case(python, library, kernel, precision, repeats, smoke=smoke))
    seconds = {name: statistics.median(s for run in runs for s in run["seconds"]) for name, runs in found.items()}
    cpu = {name: statistics.median(s for run in runs for s in run["cpu_seconds"]) for name, runs in found.items()}
    # What the kernel adds to a process that has made and compiled a small one.
    memory = {name: max(run["peak_rss"] - run["start_rss"] for run in runs) / 1e6 for name, runs in found.items()}
    cells = [KERNELS[kernel], precision, f"{seconds['ntkflow']:.3g} s"]
    if peer:
        ours, theirs = (found[name][0]["norm"] for name in ("ntkflow", "neural_tangents"))
        if abs(ours / theirs - 1) > (1e-3 if precision == "float32" else 1e-6):
            raise SystemExit(f"{kernel}, {precision}: the norms {ours} and {theirs} are of two kernels")
        cells += [f"{seconds['neural_tangents']:.3g} s"]
        cells += [f"{of['neural_tangents'] / of['ntkflow']:.2f}" for of in (seconds, cpu)]
        cells += [f"{memory['ntkflow']:.0f} MB", f"{memory['neural_tangents']:.0f} MB"]
        cells += [f"{memory['neural_tangents'] / max(memory['ntkflow'], 0.1):.2f}"]
    else:
        cells += ["left out: no interpreter named", "", "", f"{memory['ntkflow']:.0f} MB", "", ""]
    print("| " + " | ".join(cells) + " |", flush=True)


def case(python: str, library: str, kernel: str, precision: str, repeats: int, *, smoke: bool) -> dict[str, Any]:
    """One process: times of every repetition, and its memory."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [python, str(PEERS / f"{library}_infinite.py"), "--case", kernel, "--dtype", precision]
    command += ["--repeats", str(repeats), *(["--smoke"] if smoke else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{library}, {kernel}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
