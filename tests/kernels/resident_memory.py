"""Kernels in a process of their own, and how far the resident set of that process grows meanwhile.

Compilers take memory that no budget bounds. So every case is run twice: the first call compiles; then what the
allocator holds without need is given back, the high-water mark is set back to what is resident, and the second call is
watched. Both can be done on Linux only.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
POSSIBLE = sys.platform == "linux" and os.access(RESET, os.W_OK)
WHY_NOT = "needs Linux' /proc, where the high-water mark of the resident set can be set back"

_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
"""Large blocks by themselves, given back when they are freed: what glibc keeps in its heaps is nobody's."""

Case = dict[str, Any]
"""What is called ("kernel", "values", "outputs", "pairs", or "array"), with which network, samples and settings."""


def measured(cases: list[Case]) -> list[Case]:
    """Each case with "grown", bytes beyond what was there before; "result", bytes of the kernel; "said", its text.

    A budget that is refused gives "refused: …" and no growth.
    """
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **_ALLOCATOR}
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(cases)], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def resident(name: str) -> int:
    """Bytes: "VmRSS" now, "VmHWM" at most since the mark was set back."""
    lines = [line.split() for line in STATUS.read_text().splitlines()]
    return next(int(words[1]) * 1024 for words in lines if words[0] == f"{name}:")


def growth(run: Callable[[], Any]) -> tuple[int, Any]:
    """Bytes that the resident set grows by while something runs, at its peak, and what it gives."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text("5")
    before = resident("VmRSS")
    found = run()
    return resident("VmHWM") - before, found


def run_of(case: Case) -> Callable[[], tuple[str, int]]:
    """The call: it gives the result's text and bytes, and lets go of the result."""
    import jax
    import jax.numpy as jnp

    from ntkflow.kernels import empirical_ntk, network_block_values, network_output_pairs, network_output_values
    from ntkflow.networks import MLP, ResNet, with_statistics_of

    if case["what"] == "array":
        # The counter-check: a program that holds N² numbers.
        x = jnp.ones((case["samples"], 8))
        program = jax.jit(lambda x: jnp.sum(jnp.sin(x @ x.T) @ x))
        return lambda: (str(jax.block_until_ready(program(x))), 0)
    network: Any
    if case["network"] == "mlp":
        x = jax.random.normal(jax.random.key(1), (case["samples"], case["inputs"]))
        sizes = {"width": case["width"], "features": case["width"]}
        network = MLP(jax.random.key(0), inputs=case["inputs"], outputs=10, hidden_layers=2, **sizes)
    else:
        x = jax.random.normal(jax.random.key(1), (case["samples"], 1, 28, 28))
        channels = (case["width"], 2 * case["width"], 4 * case["width"])
        network = ResNet(jax.random.key(0), input_channels=1, outputs=10, depth=case["depth"], channels=channels)
        network = with_statistics_of(network, x[:8])
    settings = dict(case["settings"])
    if case["what"] == "kernel":

        def kernel() -> tuple[str, int]:
            found = empirical_ntk(network, x, **settings)
            return str(found), jax.block_until_ready(found.values).nbytes

        return kernel
    if "random_outputs" in settings:
        settings["key"] = jax.random.key(2)
    makers = {"values": network_block_values, "outputs": network_output_values, "pairs": network_output_pairs}
    return lambda: (str(makers[case["what"]](network, x, 10, **settings)), 0)


def main(cases: list[Case]) -> None:
    """Prints a line of JSON a case."""
    for case in cases:
        run = run_of(case)
        try:
            run()
        except ValueError as refused:
            print(json.dumps({**case, "grown": 0, "result": 0, "said": f"refused: {refused}"}), flush=True)
            continue
        grown, (said, result) = growth(run)
        print(json.dumps({**case, "grown": grown, "result": result, "said": said}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
