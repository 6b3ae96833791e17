"""Times cases of one library, each in a process of its own, and prints one line of JSON for each.

No library is imported here. A case's memory is the peak of the resident set of its own process; ``start_rss`` is what
libraries, parameters and inputs take before the first run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from peer_problems import SMOKE, Sizes

Run = Callable[[], Any]  # one kernel, finished when it returns
Make = Callable[[Sizes, str, int | None], Run]  # from sizes, type of numbers, outputs at a time


def peak_rss() -> int:
    """Bytes of the largest resident set that this program had.

    Linux' ru_maxrss counts the process that started this one too; the high-water mark in /proc does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = [line.split() for line in status.read_text().splitlines()]
        return next(int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def timed(name: str, run: Run, repeats: int) -> dict[str, Any]:
    """Seconds of every repetition, after one run that compiles and warms up, with the kernel's shape and norm."""
    start = peak_rss()
    kernel = run()
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        kernel = None  # The last one's memory is free before the next one is made.
        clock, work = time.perf_counter(), time.process_time()
        kernel = run()
        seconds.append(time.perf_counter() - clock)
        cpu_seconds.append(time.process_time() - work)
    peak = peak_rss()
    values = np.asarray(kernel)
    return {
        "name": name,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "start_rss": start,
        "peak_rss": peak,
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        # By this number one sees that two libraries computed the same kernel.
        "norm": float(np.linalg.norm(values.astype(np.float64))),
    }


def command_line(description: str, cases: Mapping[str, Make], versions: Mapping[str, str]) -> None:
    """Runs the chosen cases; with several, every one in a new process of the same interpreter."""
    defaults = Sizes()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--case", action="append", choices=list(cases), help="may be repeated; all by default")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs after the first one")
    parser.add_argument("--mlp-inputs", type=int, help=f"samples of the MLP's kernel, {defaults.mlp_inputs}")
    parser.add_argument("--resnet-inputs", type=int, help=f"samples of the ResNet's, {defaults.resnet_inputs}")
    parser.add_argument("--chunk", type=int, help="outputs whose gradients are taken at once; all by default")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    if options.list:
        print("\n".join(cases))
        return
    chosen = options.case or list(cases)
    if len(chosen) > 1:
        arguments = [argument for argument in sys.argv[1:] if argument != "--case" and argument not in chosen]
        sys.exit(max(_in_new_process([*arguments, "--case", name], name) for name in chosen))
    asked = {"mlp_inputs": options.mlp_inputs, "resnet_inputs": options.resnet_inputs}
    sizes = dataclasses.replace(
        SMOKE if options.smoke else defaults, **{name: value for name, value in asked.items() if value is not None}
    )
    run = cases[chosen[0]](sizes, options.dtype, options.chunk)
    result = timed(chosen[0], run, options.repeats)
    print(json.dumps({**result, "sizes": dataclasses.asdict(sizes), "versions": dict(versions)}), flush=True)


def _in_new_process(arguments: list[str], name: str) -> int:
    """Runs one case; whether it failed. The others are tried all the same."""
    code = subprocess.run([sys.executable, sys.argv[0], *arguments]).returncode
    if code:
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        print(f"{name}: no result, {ended}", file=sys.stderr)
    return int(code != 0)
