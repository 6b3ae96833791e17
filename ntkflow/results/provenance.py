"""What it takes to get the same numbers again: versions, machine, seed, command; nothing on whose machine it was."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = (
    "jax",
    "jaxlib",
    "equinox",
    "diffrax",
    "numpy",
    "scipy",
    "xarray",
    "h5netcdf",
    "matplotlib",
    "scikit-learn",
)
_ENVIRONMENT = re.compile(r"JAX_\w+|XLA_FLAGS|OMP_NUM_THREADS")
_NO_NUMBERS = re.compile(r"COORDINATOR|ADDRESS|CACHE")  # Names of machines, and folders that change no number.
_ABSOLUTE = re.compile(r"""(?:(?<![\w.~/\\-])|(?<=^-\w))(?:[A-Za-z]:[\\/]|~[\\/]|/)[^\s,;='"]*""")


def provenance(
    *, seed: int, device: str | None, scenario_yaml: str, started: datetime.datetime, timings: Mapping[str, float]
) -> dict[str, Any]:
    """The record of a run for ``manifest.json`` and the report, as plain JSON values.

    Args:
        seed: the seed from which every random number of the run derives.
        device: what the arrays were on, as jax names it; ``None`` if there was none.
        scenario_yaml: the scenario's text, of which the hash is kept.
        started: when the run began.
        timings: seconds by stage.
    """
    return {
        "ntkflow": _version("ntkflow"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "device": device,
        "environment": {
            name: without_paths(value)
            for name, value in sorted(os.environ.items())
            if _ENVIRONMENT.fullmatch(name) and not _NO_NUMBERS.search(name)
        },
        "git_commit": _git_commit(Path(__file__).resolve().parents[1]),
        "command": [Path(sys.argv[0]).name, *map(without_paths, sys.argv[1:])],
        "seed": seed,
        "scenario_sha256": hashlib.sha256(scenario_yaml.encode()).hexdigest(),
        "started": started.astimezone(datetime.UTC).isoformat(timespec="seconds"),
        "timings_seconds": {stage: float(seconds) for stage, seconds in timings.items()},
    }


def without_paths(text: str) -> str:
    """``text`` with every absolute path cut down to the name of its file or folder; the home folder becomes ``~``."""
    return _ABSOLUTE.sub(lambda found: _name(found.group()), text)


def _name(path: str) -> str:
    # The home folder's name is in most cases the user's.
    if Path(path) == Path.home():
        return "~"
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or path[:1]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit(package: Path) -> str | None:
    """The commit of the checkout whose tracked files the package is made of, with ``+changes`` if it was edited since.

    A package installed below somebody else's checkout is not tracked there, and has no commit.
    """
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(package, "rev-parse", "HEAD").strip()
        changes = _git(package, "status", "--porcelain", "--", ".").strip()
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return commit + ("+changes" if changes else "")


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
