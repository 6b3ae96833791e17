"""Ten thousand trajectories of the reference problem in one call, and the memory that they take."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from ntkflow.flows import Integration, InvariantFlow, random_state, solve_ensemble
from ntkflow.kernels import BlockKernel

C, n, m, count = 10, 32, 12, 10_000
kernel = BlockKernel(1.0 * n, 0.8 * n, 0.2 * n, classes=C, per_class=m)

def make(key):
    state = random_state(key, classes=C, per_class=m, features=n)
    return InvariantFlow.starting_at(state, kernel, loss_scale=float(m * n), all_directions=True)

run = solve_ensemble(
    make,
    jax.random.split(jax.random.key(0), count),
    jnp.linspace(0.0, 20.0, 50),
    Integration("tsit5", rtol=1e-6, atol=1e-9),
    observe=lambda flow, state: flow.residual_norms(state),
)
print(json.dumps({
    "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    "shape": run.observed.shape,
    "failed": int(run.failed.sum()),
    "steps": int(run.steps.max()),
    "falls": bool((run.observed[:, -1] ** 2).sum(-1).max() < (run.observed[:, 0] ** 2).sum(-1).min()),
}))
"""


@pytest.mark.slow
def test_ten_thousand_trajectories_stay_below_four_gibibytes(capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own: the peak is that of nothing else. RSS is in kibibytes on Linux."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\n10 000 trajectories (C, n, m) = (10, 32, 12): peak {found['peak'] / 2**30:.2f} GiB, {found}")
    assert found["shape"] == [10_000, 50, 3]
    assert found["failed"] == 0
    assert found["falls"]
    assert found["peak"] < 4 * 2**30
