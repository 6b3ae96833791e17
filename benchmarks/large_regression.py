"""Kernel regression of many samples: dense beside conjugate gradients and Nyström: `python large_regression.py`.

Prints the table of docs/benchmarks.md. Every solver runs in a process of its own, in turns; the NTK of fully connected
ReLU networks on random inputs in classes. Memory is the peak resident set beyond what the process had before.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SOLVERS = {
    "eigh": "dense, eigendecomposition",
    "cholesky": "dense, Cholesky",
    "cg": "conjugate gradients, no preconditioner",
    "pcg": "conjugate gradients, rank 400",
    "nystrom": "Nyström, rank 400",
}
RANK, RIDGE, OUTPUTS, FEATURES, TESTS = 400, 0.1, 10, 64, 500


def main() -> None:
    """One row a size and solver, or one case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, action="append", help="may be repeated; 2000 and 4000 by default")
    parser.add_argument("--rounds", type=int, default=1, help="processes of each solver, in turns")
    parser.add_argument("--smoke", action="store_true", help="a tiny size: does everything run?")
    parser.add_argument("--case", choices=list(SOLVERS), help=argparse.SUPPRESS)
    parser.add_argument("--save", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [600] if options.smoke else options.samples or [2000, 4000]
    if options.case:
        print(json.dumps(case(options.case, sizes[0], options.save)))
        return
    print("| N | solver | time | of Cholesky's | CPU | memory | of Cholesky's | iterations | apart |")
    print("|---|---|---|---|---|---|---|---|---|")
    for samples in sizes:
        rows(samples, options.rounds)


def rows(samples: int, rounds: int) -> None:
    """All solvers in turns; the smallest of the times on the clock and on all cores (CPU), as ratios."""
    import numpy as np

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SOLVERS}
    outputs = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name in SOLVERS:
                path = Path(folder) / f"{name}.npy"
                command = [sys.executable, __file__, "--case", name, "--samples", str(samples), "--save", str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
                outputs[name] = np.load(path)
    seconds = {name: min(run["seconds"] for run in runs) for name, runs in found.items()}
    cpu = {name: min(run["cpu"] for run in runs) for name, runs in found.items()}
    memory = {name: max(run["memory"] for run in runs) for name, runs in found.items()}
    exact = outputs["cholesky"]
    for name, words in SOLVERS.items():
        apart = np.sqrt(np.mean((outputs[name] - exact) ** 2) / np.mean(exact**2))
        cells = [f"{samples}", words, f"{seconds[name]:.3g} s", f"{seconds[name] / seconds['cholesky']:.2f}"]
        cells += [f"{cpu[name] / cpu['cholesky']:.2f}"]
        cells += [f"{memory[name] / 1e6:.0f} MB", f"{memory[name] / memory['cholesky']:.2f}"]
        cells += [f"{found[name][0]['iterations'] or '–'}", "–" if name == "cholesky" else f"{apart:.1e}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def case(solver: str, samples: int, save: str) -> dict[str, Any]:
    """One solver: seconds of the second call, memory of both beyond what was there before."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import numpy as np
    from jax.scipy.linalg import cho_factor, cho_solve

    from ntkflow.flows import DenseModes, KernelRegressionFlow, LowRankModes, TiledRegression
    from ntkflow.kernels import FullyConnectedKernel, LeakyReLU, NystromKernel, TiledKernel, WidePairs

    generator = np.random.default_rng(0)
    # Clusters about random centres, a label each: the spectrum of data, not of noise.
    centres = generator.standard_normal((OUTPUTS, FEATURES))
    labels = generator.integers(OUTPUTS, size=samples + TESTS)
    points = jnp.asarray(centres[labels] + 0.7 * generator.standard_normal((samples + TESTS, FEATURES)))
    inputs, tests = points[:samples], points[samples:]
    targets = jnp.asarray(np.eye(OUTPUTS)[labels[:samples]].T - 1 / OUTPUTS)
    network = FullyConnectedKernel(LeakyReLU(), 4, 2**0.5, 0.1)
    key = jax.random.key(0)

    def run() -> tuple[Any, int]:
        if solver in ("eigh", "cholesky"):
            theta, cross = network.ntk(inputs), network.ntk(tests, inputs)
            if solver == "cholesky":
                theta = theta + RIDGE * jnp.eye(samples)
                return cross @ cho_solve(cho_factor(theta, overwrite_a=True), targets.T), 0
            modes = DenseModes.of(theta, cross)
            return KernelRegressionFlow(modes, targets=targets, loss_scale=1.0, ridge=RIDGE).limit().test.T, 0
        kernel = TiledKernel(WidePairs(network), inputs)
        low = None if solver == "cg" else NystromKernel.of(kernel, min(RANK, samples // 2), key=key)
        if solver == "nystrom":
            assert low is not None
            modes = LowRankModes.of(low, tests)
            return KernelRegressionFlow(modes, targets=targets, loss_scale=1.0, ridge=RIDGE).limit().test.T, 0
        regression = TiledRegression(kernel, targets=targets, loss_scale=1.0, test_inputs=tests, ridge=RIDGE)
        found = regression.limit(low, tolerance=1e-8, max_steps=3000)
        return found.outputs.test.T, int(found.solution.iterations.max())

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    jax.block_until_ready(run())
    started, work = time.perf_counter(), time.process_time()
    outputs, iterations = jax.block_until_ready(run())
    seconds, cpu = time.perf_counter() - started, time.process_time() - work
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    np.save(save, np.asarray(outputs))
    return {"seconds": seconds, "cpu": cpu, "memory": memory, "iterations": iterations}


if __name__ == "__main__":
    main()
