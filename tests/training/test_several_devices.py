"""Two forced host devices in a process of its own: batches and ensembles shared out give what one device gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
def test_two_devices_give_what_one_gives() -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(TESTS / "training" / "two_devices.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["devices"] == 2
    for kind in ("layers", "residual"):
        assert found[kind]["devices"] == 2
        assert found[kind]["off"] < 1e-11
        assert found[kind]["loss"] < 1e-11
    assert found["ensemble"]["devices"] == 2
    assert found["ensemble"]["shards"] == [2, 2]
    assert found["ensemble"]["off"] < 1e-12
    batches, members = found["refusals"]
    assert batches == "split_batches: batches of 3 samples cannot be shared equally by 2 devices"
    assert members == "split_members: 3 members cannot be shared equally by 2 devices"
