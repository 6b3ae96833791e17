"""`kill -9` at random moments of a training run: the same command goes on, and ends with the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "width": 48, "hidden_layers": 2, "features": 24},
    "resnet": {"kind": "resnet", "depth": 8, "channels": [4, 6, 8]},
}


def described(network: str) -> dict[str, Any]:
    return {
        "kind": "training",
        "name": "killed",
        "loss_scale": "samples_times_outputs",
        "data": {"source": "digits", "samples_per_class": 20, "test_samples_per_class": 10},
        "network": NETWORKS[network],
        "training": {
            "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
            "step_size": 0.02,
            "schedule": {"kind": "steps", "every": 20, "factor": 10.0},
            "epochs": 60,
            "batch_per_class": 4,
        },
        "records": {
            "count": 20,
            "spacing": "linear",
            "groups": ["losses", "block_values"],
            "kernel_samples_per_class": 3,
        },
        "checkpoints": {"every": 1, "snapshots": [7, 30]},
    }


def command(scenario: Path, output: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ntkflow", "run", str(scenario), "--output", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(scenario: Path, output: Path) -> str:
    process = command(scenario, output)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return said


def killed(scenario: Path, output: Path, after: float) -> bool:
    """Whether the run was killed, and not over before."""
    process = command(scenario, output)
    time.sleep(after)
    over = process.poll() is not None
    if not over:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return not over


def same(first: Path, second: Path) -> None:
    with xr.open_datatree(first / "results.nc") as one, xr.open_datatree(second / "results.nc") as other:
        assert set(one.groups) == set(other.groups)
        for group in set(one.groups) - {"/cost"}:
            for name, values in one[group].data_vars.items():
                np.testing.assert_array_equal(values.values, other[group][name].values, err_msg=f"{group} {name}")
    files = sorted(path.relative_to(first) for path in [*first.glob("*.ckpt"), *first.glob("snapshots/*.ckpt")])
    assert [str(path) for path in files] == [
        "network.ckpt",
        "snapshots/snapshot-000007.ckpt",
        "snapshots/snapshot-000030.ckpt",
    ]
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert not [*second.rglob("*.partial")]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "moments"), [("mlp", 20), ("resnet", 5)])
def test_killed_at_random_moments(network: str, moments: int, tmp_path: Path) -> None:
    scenario = tmp_path / "killed.yaml"
    scenario.write_text(json.dumps(described(network)))  # JSON is YAML
    started = time.monotonic()
    finished(scenario, tmp_path / "whole")
    whole = time.monotonic() - started
    draw = random.Random(0)
    kills = resumed = 0
    while kills < moments:
        output = tmp_path / f"out-{kills}"
        after = draw.uniform(0, whole)
        if not killed(scenario, output, after):
            continue
        kills += 1
        # Killed while the process was ending: the result is there, and the same command would refuse to replace it.
        complete = (output / "manifest.json").exists()
        said = "" if complete else finished(scenario, output)
        went_on = "Resumed from the checkpoint of epoch" in said
        resumed += went_on
        same(tmp_path / "whole", output)
        how = "was complete" if complete else "went on" if went_on else "began again"
        print(f"{network}: killed after {after:.2f} s of {whole:.1f} s, {how}: the same")
    # Starting up and drawing take a part of the time; without any resumed run nothing would have been tested.
    assert resumed >= moments // 4
