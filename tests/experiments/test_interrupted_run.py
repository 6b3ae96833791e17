"""Ctrl-C and SIGTERM in the middle of a run: it says what it left, an old result stays whole, exit code 130."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from experiments.command import SCENARIOS, Said, ntkflow, settings
from experiments.conftest import Runs
from experiments.reduced import REDUCED

import ntkflow.experiments.write_result as write_module
from ntkflow.errors import InterruptedRun
from ntkflow.experiments import run_scenario
from ntkflow.results import read_result
from ntkflow.scenario import LoadedScenario, load_scenario

NAME = "residual_eigenspaces"


def loaded() -> LoadedScenario:
    return load_scenario(SCENARIOS / f"{NAME}.yaml", REDUCED[NAME])


class InterruptedAt:
    """Progress that is interrupted at its n-th call."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __call__(self, stage: str, done: float, total: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize("earlier", [False, True])
def test_at_every_report_of_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Runs, call: int, earlier: bool
) -> None:
    monkeypatch.setattr(write_module, "write_figures", lambda folder, drawings: ())
    output = tmp_path / "out"
    if earlier:
        shutil.copytree(runs.folder(NAME), output)
    before = {path.name: path.read_bytes() for path in output.glob("*.*")}
    with pytest.raises(InterruptedRun) as caught:
        run_scenario(loaded(), output, overwrite=earlier, progress=InterruptedAt(call))
    said = str(caught.value)
    assert caught.value.exit_code == 130
    # At the last one everything is in place already.
    if call == 6:
        assert said == f"interrupted\n  The result in {output} is complete."
        read_result(output)
    elif earlier:
        assert said.startswith(f"interrupted\n  The earlier result in {output} is untouched. ")
        assert "was left without a manifest" in said
        assert {path.name: path.read_bytes() for path in output.glob("*.*")} == before
        read_result(output)
        (rest,) = [path for path in tmp_path.iterdir() if path != output]
        assert str(rest) in said
        assert not (rest / "manifest.json").exists()
    else:
        assert said == (f"interrupted\n  What the run had written is in {output}, which was left without a manifest.")
        assert not (output / "manifest.json").exists()


def test_it_is_interrupted_no_more_than_six_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers above are all there are."""
    monkeypatch.setattr(write_module, "write_figures", lambda folder, drawings: ())
    progress = InterruptedAt(7)
    folder, _ = run_scenario(loaded(), tmp_path / "out", progress=progress)
    assert progress.left == 1
    assert read_result(folder)


def test_while_figures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write_module, "write_figures", interrupted)
    output = tmp_path / "out"
    said = ntkflow("run", SCENARIOS / f"{NAME}.yaml", "-o", output, *settings(*REDUCED[NAME]))
    assert said.interrupted() == (
        f"interrupted\n  What the run had written is in {output}, which was left without a manifest."
    )
    assert (output / "results.nc").is_file()
    assert not (output / "manifest.json").exists()
    shown = ntkflow("show", output).refused()
    assert "the result is unfinished" in shown


def test_a_mistake_of_ours_leaves_no_manifest_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(write_module, "write_figures", wrong)
    output = tmp_path / "out"
    said = ntkflow("run", SCENARIOS / f"{NAME}.yaml", "-o", output, *settings(*REDUCED[NAME]))
    assert said.code == 70
    assert "ZeroDivisionError: ours" in said.err
    assert "This is a mistake in ntkflow, not in your scenario." in said.err
    assert not (output / "manifest.json").exists()


@dataclasses.dataclass(frozen=True)
class Stopped:
    """A real process that was sent a signal while it trained."""

    said: Said
    output: Path


def start(output: Path, *options: str) -> subprocess.Popen[str]:
    """A run that would take hours; its first progress is a line on stderr."""
    endless = ("training.steps=100000000", "training.records=2", "training.snapshots=[0]")
    arguments = ["run", SCENARIOS / "digits.yaml", "-o", output, *options, *settings(*REDUCED["digits"], *endless)]
    return subprocess.Popen(
        [sys.executable, "-m", "ntkflow", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        # Not a part of pytest's group, as a job of a scheduler is not either.
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str], number: signal.Signals, output: Path) -> Stopped:
    """Sends the signal once there is progress."""
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert first.startswith("training …"), first
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        watchdog.cancel()
        process.kill()
    return Stopped(Said(process.returncode, out, first + err), output)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, runs: Runs) -> dict[str, Stopped]:
    """By Ctrl-C in a new folder, and by SIGTERM over an earlier result; both start at once to save time."""
    new, earlier = (tmp_path_factory.mktemp(name) / "out" for name in ("new", "earlier"))
    shutil.copytree(runs.folder(NAME), earlier)
    by_key, by_scheduler = start(new), start(earlier, "--overwrite")
    try:
        return {
            "key": stop(by_key, signal.SIGINT, new),
            "scheduler": stop(by_scheduler, signal.SIGTERM, earlier),
        }
    finally:
        by_key.kill()
        by_scheduler.kill()


def test_control_c_in_a_real_process(stopped: dict[str, Stopped]) -> None:
    found = stopped["key"]
    assert found.said.interrupted() == (
        f"interrupted\n  What the run had written is in {found.output}, which was left without a manifest."
    )
    assert found.said.out == ""
    assert not (found.output / "manifest.json").exists()


def test_sigterm_over_an_earlier_result(stopped: dict[str, Stopped], runs: Runs) -> None:
    found = stopped["scheduler"]
    message = found.said.interrupted()
    assert message.startswith(f"interrupted\n  The earlier result in {found.output} is untouched. ")
    assert "which was left without a manifest" in message
    assert read_result(found.output).manifest == runs.result(NAME).manifest


def test_the_next_run_clears_what_a_stopped_one_left(stopped: dict[str, Stopped]) -> None:
    output = stopped["scheduler"].output
    assert len(list(output.parent.iterdir())) == 2
    said = ntkflow("run", SCENARIOS / f"{NAME}.yaml", "-o", output, "--overwrite", *settings(*REDUCED[NAME], "seed=4"))
    assert said.code == 0
    assert [path.name for path in output.parent.iterdir()] == ["out"]
    assert read_result(output).provenance["seed"] == 4
