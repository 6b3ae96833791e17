"""Provenance says how to get the numbers again, and not on whose machine they were made."""

from __future__ import annotations

import datetime
import getpass
import importlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from ntkflow.results import provenance

# Not an import statement: the package gives the module's name to the function.
module = importlib.import_module("ntkflow.results.provenance")


def record(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "seed": 3,
        "device": "cpu",
        "scenario_yaml": "name: x\n",
        "started": datetime.datetime(2026, 11, 22, 12, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
        "timings": {"training": 1.5},
    }
    return provenance(**{**arguments, **changes})


def test_what_is_recorded() -> None:
    said = record()
    assert said["versions"]["python"] == platform.python_version()
    assert said["versions"]["numpy"] == numpy.__version__
    assert set(said["versions"]) == {
        *("python", "jax", "jaxlib", "equinox", "diffrax", "numpy", "scipy"),
        *("xarray", "h5netcdf", "matplotlib", "scikit-learn"),
    }
    assert said["started"] == "2026-11-22T11:30:00+00:00"
    assert (said["seed"], said["device"], said["timings_seconds"]) == (3, "cpu", {"training": 1.5})
    assert len(said["scenario_sha256"]) == 64
    assert json.loads(json.dumps(said)) == said


def test_a_missing_package_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("no-such-package",))
    assert record()["versions"]["no-such-package"] is None


def test_the_environment_that_changes_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_dump_to=/home/somebody/dump")
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "machine.example:1234")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/home/somebody/cache")
    monkeypatch.setenv("SECRET", "x")
    environment = record()["environment"]
    assert environment["JAX_ENABLE_X64"] == "1"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["XLA_FLAGS"] == "--xla_a=1 --xla_dump_to=dump"
    assert not {"JAX_COORDINATOR_ADDRESS", "JAX_COMPILATION_CACHE_DIR", "SECRET"} & set(environment)


def test_no_machine_and_no_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", [sys.executable, "run", str(tmp_path / "a.yaml"), f"--output={tmp_path}/out", "-v"])
    # The tests' own flags may hold a machine's name by chance, as "vm" is in "llvm".
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    said = record()
    assert said["command"] == [Path(sys.executable).name, "run", "a.yaml", "--output=out", "-v"]
    text = json.dumps(said)
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text
    assert platform.node() not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("/home/somebody/runs/a.yaml", "a.yaml"),
        ("--data=/home/somebody/mnist/", "--data=mnist"),
        ("from:/x/b,/y/c", "from:b,c"),
        ("-o/home/somebody/out", "-oout"),
        (r"C:\Users\somebody\a.yaml", "a.yaml"),
        ("~/runs/a.yaml", "a.yaml"),
        ("scenarios/a.yaml", "scenarios/a.yaml"),
        ("./a.yaml", "./a.yaml"),
        ("training.step=1e-3", "training.step=1e-3"),
        ("/", "/"),
        ("1/2", "1/2"),
    ],
)
def test_paths_are_cut_down(text: str, stripped: str) -> None:
    assert module.without_paths(text) == stripped


def test_the_home_folder_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert module.without_paths("--data=/home/somebody --data=/home/somebody/") == "--data=~ --data=~"


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert module._git_commit(package) is None
    git("init")
    assert module._git_commit(package) is None, "a package that the repository does not track is not of its commit"
    git("add", ".")
    git("commit", "-m", "first")
    assert module._git_commit(package) == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed")
    assert module._git_commit(package) == git("rev-parse", "HEAD") + "+changes"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert record()["git_commit"] is None
