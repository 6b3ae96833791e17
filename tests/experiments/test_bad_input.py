"""What a user can get wrong, through the command line: one message with place and remedy, and exit code 2."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.conftest import Runs
from experiments.reduced import REDUCED


def run(name: str, output: Path, *overrides: str) -> str:
    """The message of a run that refuses."""
    return ntkflow("run", SCENARIOS / f"{name}.yaml", "-o", output, *settings(*REDUCED[name], *overrides)).refused()


def left(output: Path) -> str:
    """What a run that began and failed says it left."""
    assert (output / "scenario.yaml").is_file()
    assert not (output / "manifest.json").exists()
    return f"\n  What the run had written is in {output}, which was left without a manifest."


@pytest.mark.parametrize(
    ("name", "override", "said"),
    [
        ("digits", "network.widht=8", r"--set network\.widht=8: .*widht.*[Dd]id you mean .*width"),
        ("digits", "network.width=wide", r"--set network\.width=wide: network\.width: .*whole number"),
        ("digits", "network.width=0", r"--set network\.width=0: network\.width: "),
        ("digits", "data.classes=1", r"--set data\.classes=1: data\.classes: "),
        ("block_flow", "problem.classes=1", r"--set problem\.classes=1: problem\.classes: "),
        ("residual_eigenspaces", "problem.classes=1", r"--set problem\.classes=1: problem\.classes: "),
        ("block_flow", "kernel.same_class=9.0", r"kernel: .*order diagonal > same_class > different_class >= 0"),
        ("residual_eigenspaces", "kernel.different_class=-1.0", r"kernel: .*order diagonal > same_class > different"),
        ("digits", "training.snapshots=[0, 600]", r"training.*last snapshot, 600, must come before the end"),
        ("digits", "training.snapshots=[37, 0]", r"training.*snapshots must increase"),
    ],
)
def test_scenarios_that_ask_for_what_there_is_not(tmp_path: Path, name: str, override: str, said: str) -> None:
    message = run(name, tmp_path / "out", override)
    assert re.search(said, message, re.DOTALL), message
    assert not (tmp_path / "out").exists()


def test_the_place_in_the_file(tmp_path: Path) -> None:
    text = (SCENARIOS / "digits.yaml").read_text()
    path = tmp_path / "digits.yaml"
    path.write_text(text.replace("  features: 96", "  featuers: 96"))
    (line,) = [number for number, row in enumerate(path.read_text().splitlines(), 1) if "featuers" in row]
    message = ntkflow("run", path, "-o", tmp_path / "out").refused()
    assert message.startswith(f"{path}:{line}:3: network.featuers: ")
    assert "features" in message


def test_more_samples_than_a_class_has(tmp_path: Path) -> None:
    output = tmp_path / "out"
    message = run("digits", output, "data.classes=10", "data.samples_per_class=175")
    assert message == (
        "scikit-learn digits, data.samples_per_class: class 8 has 174 samples, fewer than the 175 asked for\n"
        "  Ask for at most 174: every class must have the same number of training samples." + left(output)
    )


def test_data_with_nan(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).random((30, 4))
    inputs[17, 2] = np.nan
    np.savez(tmp_path / "mine.npz", inputs=inputs, labels=np.arange(30) % 3)
    scenario = tmp_path / "mine.yaml"
    scenario.write_text((SCENARIOS / "digits.yaml").read_text())
    output = tmp_path / "out"
    data = "data={source: file, path: mine.npz, samples_per_class: 4}"
    overrides = [item for item in REDUCED["digits"] if not item.startswith("data.")]
    message = ntkflow("run", scenario, "-o", output, *settings(*overrides, data)).refused()
    assert message == (
        f"{tmp_path / 'mine.npz'}: 1 of 30 samples have values that are NaN or infinite, the first is sample 17\n"
        "  Remove these samples, or replace the values, before making the file." + left(output)
    )


def test_a_step_that_is_too_large(tmp_path: Path) -> None:
    output = tmp_path / "out"
    message = run("digits", output, "training.step_size=50.0")
    found = re.fullmatch(
        r"training\.step_size: the loss overflowed at step (\d+) of gradient descent with step size 50\n"
        r"  The kernel of the initial network allows steps up to 2Z/lambda_max = (\S+) \(Z = 12\); 50 is above it\. "
        r"Try (\S+)\.(.*)",
        message,
        re.DOTALL,
    )
    assert found, message
    assert 1 <= int(found[1]) < 600
    assert float(found[3]) == pytest.approx(float(found[2]) / 4, rel=0.05)
    assert found[4] == left(output)


def test_a_solver_that_gives_up(tmp_path: Path) -> None:
    output = tmp_path / "out"
    message = run("digits", output, "forecast.solver.max_steps=5", "forecast.models=[three_values]")
    first, *_ = message.splitlines()
    assert re.fullmatch(
        r"forecast by three_values from step 0: rkc2 used all its 5 steps between t = \S+ and t = 30", first
    )
    assert "solver.max_steps" in message
    assert message.endswith(left(output))


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    message = run("residual_eigenspaces", tmp_path / "file" / "out")
    assert message == (
        f"{tmp_path / 'file' / 'out'}: the result folder cannot be made: not a directory\n"
        f"  {tmp_path / 'file'} is a file and in the way; choose another result folder."
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert run("residual_eigenspaces", tmp_path / "out") == (
        f"{tmp_path / 'out'}: is a file, not a folder\n  Choose another result folder."
    )
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_of_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    message = run("residual_eigenspaces", tmp_path)
    assert message.startswith(f"{tmp_path}: is not empty and was not written by ntkflow")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_earlier_result(runs: Runs) -> None:
    folder = runs.folder("residual_eigenspaces")
    before = (folder / "manifest.json").read_bytes()
    message = run("residual_eigenspaces", folder)
    assert message == (
        f"{folder}: holds a finished result\n"
        "  --overwrite replaces it, once the new one is complete; or choose another result folder."
    )
    assert (folder / "manifest.json").read_bytes() == before
    assert runs.result("residual_eigenspaces")


def test_an_earlier_run_that_failed_is_in_the_way_until_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run("digits", output, "data.samples_per_class=175", "data.classes=10")
    assert "an earlier run was stopped before it finished" in run("residual_eigenspaces", output)
    again = ntkflow(
        "run",
        SCENARIOS / "residual_eigenspaces.yaml",
        "-o",
        output,
        "--overwrite",
        *settings(*REDUCED["residual_eigenspaces"]),
    )
    assert again.code == 0
    assert (output / "manifest.json").is_file()


def test_no_such_scenario(tmp_path: Path) -> None:
    message = ntkflow("run", SCENARIOS / "digit.yaml", "-o", tmp_path / "out").refused()
    assert message.startswith(f"{SCENARIOS / 'digit.yaml'}: there is no such file\n")
    assert f"Did you mean {SCENARIOS / 'digits.yaml'}?" in message
