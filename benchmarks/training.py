"""Training of real networks: ntkflow beside plain Equinox and PyTorch; `python benchmarks/training.py`.

Prints the tables of docs/benchmarks.md. Everything runs in a process of its own; all are prepared first,
then they train
in turns, a round each, so that they see the same machine. PyTorch needs an environment of its own
(benchmarks/peers/README.md), named by NTKFLOW_PEER_TORCH, and is left out where this is not set. It is timed with its
default, with OMP_WAIT_POLICY=passive, and with the C library keeping freed memory as ntkflow does: read its best.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "peers"

PASSIVE = {"OMP_WAIT_POLICY": "passive"}
TWO_DEVICES = {"JAX_NUM_CPU_DEVICES": "2"}
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One line of a table: whose, what, and with what in its environment."""

    title: str
    library: str
    case: str
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


TABLES = {
    "resnet": [
        Contestant("ntkflow", "ntkflow", "resnet-ntkflow"),
        Contestant("plain Equinox", "ntkflow", "resnet-plain"),
        Contestant("PyTorch eager", "torch", "resnet-eager"),
        Contestant("PyTorch eager, passive", "torch", "resnet-eager", PASSIVE),
        Contestant("PyTorch eager, keeping memory", "torch", "resnet-eager", KEEPING),
        Contestant("PyTorch eager, channels last", "torch", "resnet-channels-last", KEEPING),
        Contestant("PyTorch compiled", "torch", "resnet-compiled", KEEPING),
    ],
    "loops": [
        Contestant("dispatched", "ntkflow", "resnet-dispatched"),
        Contestant("compiled", "ntkflow", "resnet-compiled"),
    ],
    "mlp": [
        Contestant("ntkflow", "ntkflow", "mlp-ntkflow"),
        Contestant("PyTorch eager", "torch", "mlp-eager"),
        Contestant("PyTorch eager, passive", "torch", "mlp-eager", PASSIVE),
        Contestant("PyTorch eager, keeping memory", "torch", "mlp-eager", KEEPING),
        Contestant("PyTorch compiled", "torch", "mlp-compiled", KEEPING),
    ],
    **{
        f"ensemble-{width}": [
            Contestant("16 MLPs by vmap", "ntkflow", f"ensemble-{width}-together"),
            Contestant("one at a time", "ntkflow", f"ensemble-{width}-one-by-one"),
            Contestant("by vmap, on two devices", "ntkflow", f"ensemble-{width}-devices", TWO_DEVICES),
        ]
        for width in (16, 32, 64, 128, 512)
    },
}


def main() -> None:
    """The tables that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=", ".join(TABLES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything run?")
    options = parser.parse_args()
    for name in options.tables:
        table(name, options.rounds, smoke=options.smoke)


def table(name: str, rounds: int, *, smoke: bool) -> None:
    """All contestants of one table, in turns; the ratio is the first one's speed over theirs, round by round."""
    running = {}
    for contestant in TABLES[name]:
        process = _start(contestant, smoke=smoke)
        if process is None:
            print(f"  {contestant.title:<32} left out: no interpreter named")
            continue
        ready = _line(process)
        if ready is None:
            print(f"  {contestant.title:<32} no result, exit code {process.wait()}")
            continue
        running[contestant.title] = process, int(ready["steps"])
    found: dict[str, list[dict[str, float]]] = {title: [] for title in running}
    for _ in range(rounds):
        for title, (process, _) in running.items():
            process.stdin.write("\n")
            process.stdin.flush()
            found[title].append(_line(process) or {})
    print(f"\n{name}\n  {'':<32} {'steps/s':>8} {'from – to':>16} {'cpu s/step':>11} {'ratio':>7} {'from – to':>14}")
    first = next(iter(found.values()), [])
    per_first = next(iter(running.values()))[1] if running else 1
    for title, results in found.items():
        process, steps = running[title]
        process.stdin.close()
        process.wait()
        speeds = [steps / result["seconds"] for result in results]
        work = statistics.median(result["cpu_seconds"] for result in results) / steps
        ratios = [per_first / own["seconds"] / speed for own, speed in zip(first, speeds, strict=True)]
        print(
            f"  {title:<32} {statistics.median(speeds):>8.4g} {f'{min(speeds):.3g} – {max(speeds):.3g}':>16} "
            f"{work:>11.3g} {statistics.median(ratios):>7.3g} {f'{min(ratios):.2f} – {max(ratios):.2f}':>14}",
            flush=True,
        )


def _start(contestant: Contestant, *, smoke: bool) -> Any:
    python = sys.executable if contestant.library == "ntkflow" else os.environ.get("NTKFLOW_PEER_TORCH")
    if python is None:
        return None
    script = PEERS / f"{contestant.library}_training.py"
    return subprocess.Popen(
        [python, str(script), contestant.case, *(["--smoke"] if smoke else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **contestant.environment},
    )


def _line(process: Any) -> dict[str, float] | None:
    line = process.stdout.readline()
    return json.loads(line) if line else None


if __name__ == "__main__":
    main()
