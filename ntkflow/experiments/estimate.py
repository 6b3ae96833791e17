"""What a training run will take, from a few of its steps and one measurement, before it is started."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import jax

from ntkflow import scenario as schema
from ntkflow.errors import ScenarioError
from ntkflow.experiments.training_run import TrainingRun
from ntkflow.experiments.training_setup import TrainingSetup, training_setup
from ntkflow.networks import encode_checkpoint
from ntkflow.progress import Progress, silent
from ntkflow.results import Column, Quantity, Summary, Table
from ntkflow.training import run_ensemble_steps, run_steps

MEASURED_SECONDS = 2.0
"""Steps are timed for about so long."""
MOST_STEPS = 200


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run is going to take on this machine.

    Attributes:
        step: seconds of one step, of all members together.
        timed: steps that were timed.
        steps: of the whole run.
        compiling: seconds of the first step and of the first measurement that are not those of later ones.
        record: seconds of one measurement of all members.
        records: how many there are.
        checkpoint: bytes of one.
        saves: how many checkpoints are written, one after the other.
        network: bytes of one member's network.
        networks: how many are kept.
        memory: bytes, the largest resident set of this process while it measured, libraries and data included; of a
            device with a memory of its own, the most of that. None where the system does not say.
    """

    step: float
    timed: int
    steps: int
    compiling: float
    record: float
    records: int
    checkpoint: int
    saves: int
    network: int
    networks: int
    memory: int | None

    @property
    def seconds(self) -> float:
        """Of the whole run, without writing figures and report."""
        return self.compiling + self.step * self.steps + self.record * self.records

    def summary(self, name: str, keep: int) -> Summary:
        """As a table in which every number has its definition."""
        disk = self.checkpoint * (keep + 1) + self.network * self.networks
        rows = (
            ("training", f"{self.steps} steps", self.step * self.steps),
            ("measuring", f"{self.records} epochs", self.record * self.records),
            ("compiling", "once", self.compiling),
            ("all", "", self.seconds),
        )
        columns = (
            Column("work", "", "What is done."),
            Column("how often", "", "In the whole run."),
            Column("time", "s", "On this machine, as busy as it is now."),
        )
        quantities = [
            Quantity("time", self.seconds, "s", "Sum of the table: steps and measurements times what one took."),
            Quantity("step", self.step, "s", f"Mean over {self.timed} steps after the first, of all members together."),
            Quantity(
                "disk",
                disk / 1e6,
                "MB",
                f"{keep} checkpoints of {self.checkpoint / 1e6:.3g} MB and one being written, {self.networks} networks "
                f"of {self.network / 1e6:.3g} MB; figures and report are a few MB more.",
            ),
        ]
        if self.memory is not None:
            text = "Largest resident set of this process while it took these steps and this measurement"
            if jax.default_backend() != "cpu":
                text = "Most memory of the device in use while it took these steps and this measurement"
            quantities.append(Quantity("memory", self.memory / 1e6, "MB", f"{text}, data and libraries included."))
        note = (
            "Measured at the first epoch. Sharpness takes more products where the Hessian's spectrum is crowded, and a "
            "stopping rule may end the run earlier."
        )
        return Summary(
            title=f"Estimate: {name}",
            kind="estimate",
            quantities=tuple(quantities),
            tables=(Table("Time", columns, rows, note),),
        )


def estimate(scenario: schema.Scenario, *, folder: Path, progress: Progress = silent) -> Estimate:
    """Take a few steps, measure once, and multiply.

    Args:
        scenario: of kind training.
        folder: where relative paths start.
        progress: told from stage to stage.

    Raises:
        ScenarioError: another kind.
        UserError: as the run itself.
    """
    if not isinstance(scenario, schema.TrainingScenario):
        raise ScenarioError(
            f"kind {scenario.kind} is not estimated, only kinds training, regression and width are",
            remedy="Run it: the first lines of the shipped scenarios say how long such runs take.",
        )
    progress("estimating", 0, 3)
    setup = training_setup(scenario, folder)
    run = TrainingRun(setup, None)
    first_step = _timed(lambda: _steps(setup, run, 1))
    second = max(_timed(lambda: _steps(setup, run, 1)), 1e-9)
    timed = max(1, min(MOST_STEPS, round(MEASURED_SECONDS / second)))
    step = _timed(lambda: _steps(setup, run, timed)) / timed
    progress("estimating", 1, 3)
    # The network of an epoch that has begun is measured as that of a finished one.
    first_record = _timed(lambda: run.measure_once(progress))
    record = _timed(lambda: run.measure_once(progress))
    progress("estimating", 2, 3)
    members = len(setup.members)
    found = Estimate(
        step=step,
        timed=timed,
        steps=setup.scenario.training.epochs * setup.recipe.steps_per_epoch,
        compiling=max(first_step - step, 0.0) + max(first_record - record, 0.0),
        record=record,
        records=len(setup.epochs),
        checkpoint=len(encode_checkpoint(run.tree(), step=0, seed=0)),
        saves=len(setup.stops) + 1,
        network=len(run.network_file(0)),
        networks=members * (1 + len(setup.scenario.checkpoints.snapshots)),
        memory=_memory(),
    )
    progress("estimating", 3, 3)
    return found


def _steps(setup: TrainingSetup, run: TrainingRun, count: int) -> None:
    if setup.stacked:
        run.state, _ = run_ensemble_steps(setup.recipe, run.state, setup.schedule(), count)
    else:
        run.state, _ = run_steps(setup.recipe, run.state, setup.schedule(), count)
    jax.block_until_ready(jax.tree.leaves(run.state.step))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _memory() -> int | None:
    stats = jax.devices()[0].memory_stats()
    if jax.default_backend() != "cpu" and stats:
        return int(stats.get("peak_bytes_in_use", 0)) or None
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = [line.split() for line in status.read_text().splitlines()]
    return next((int(words[1]) * 1024 for words in lines if words[:1] == ["VmHWM:"]), None)
