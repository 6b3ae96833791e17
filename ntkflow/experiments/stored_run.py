"""A training run that left its networks: read back, every one of them as a moment that can be measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.comparison import Descent
from ntkflow.data import Dataset
from ntkflow.errors import CheckpointError, ScenarioError
from ntkflow.experiments.stored_network import stored_network
from ntkflow.experiments.training_run import snapshot_folder
from ntkflow.experiments.training_setup import Member, TrainingSetup, training_setup
from ntkflow.progress import Progress
from ntkflow.results import read_result
from ntkflow.scenario import load_scenario
from ntkflow.training import SGD, Checkpoint, CheckpointSeries, History, Problem, network_history


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """One run of a training result.

    Attributes:
        setup: what was run.
        dataset: its data in float64, every number the one trained on.
        member: which run.
        optimizer: of squared errors, with a gradient-flow time.
        checkpoints: the networks that were kept, by epoch, and that of the end, in float64.
        epochs: of the checkpoints.
        seconds: wall time that training took, of all runs of the ensemble.
    """

    setup: TrainingSetup
    dataset: Dataset
    member: Member
    optimizer: SGD
    checkpoints: tuple[Checkpoint, ...]
    epochs: tuple[int, ...]
    seconds: float

    @classmethod
    def of(cls, scenario: schema.RunComparisonScenario, folder: Path) -> StoredRun:
        """Read a result, all of whose hashes are checked.

        Raises:
            ResultFolderError: no complete result there, or a file of it has changed.
            ScenarioError: a result of another kind or loss, a member that there is not.
            CheckpointError: a network of another kind than the run's.
            DataError: data that cannot be used.
        """
        path = folder / scenario.result
        result = read_result(path)
        asked = load_scenario(path / "scenario.yaml").scenario
        if not isinstance(asked, schema.TrainingScenario):
            raise ScenarioError(
                f"is a result of kind {asked.kind}; forecasts start from the snapshots of a training run",
                place=f"result: {scenario.result}",
                remedy="Give the result of a scenario with kind: training.",
            )
        setup = training_setup(asked, folder)
        optimizer = setup.recipe.optimizer
        if asked.training.loss != "squared_error" or not isinstance(optimizer, SGD):
            raise ScenarioError(
                "was not trained on the squared error by SGD: no flow of the forecasts has its time",
                place=f"result: {scenario.result}",
                remedy="Give a run with loss: squared_error and optimizer: {kind: sgd}.",
            )
        if scenario.member >= len(setup.members):
            raise ScenarioError(
                f"there is no member {scenario.member}: the run has {len(setup.members)}, counted from 0",
                place="member",
            )
        member = setup.members[scenario.member]
        dataset = _in_float64(setup.dataset)
        times, per_epoch = setup.times(member), setup.recipe.steps_per_epoch
        series = CheckpointSeries(snapshot_folder(path, scenario.member, setup))
        last = f"network-{scenario.member:03d}.ckpt" if setup.stacked else "network.ckpt"
        files = [(epoch, series.snapshot_path(epoch)) for epoch in series.snapshots()]
        found: dict[int, Checkpoint] = {}
        for epoch, file in [*files, (None, path / last)]:
            stored = stored_network(str(file.relative_to(path)), dataset, path)
            if stored.built != setup.scenario.network:
                raise CheckpointError(
                    f"holds another network ({stored.built.kind}) than the run's",
                    place=str(file),
                    remedy="Run the training again.",
                )
            at = stored.step // per_epoch if epoch is None else epoch
            found[at] = Checkpoint(float(times[at]), at * per_epoch, stored.network)
        return cls(
            setup=setup,
            dataset=dataset,
            member=member,
            optimizer=optimizer,
            checkpoints=tuple(found.values()),
            epochs=tuple(found),
            seconds=float(result.provenance["timings_seconds"]["training"]),
        )

    def at(self, epochs: tuple[int, ...]) -> tuple[Checkpoint, ...]:
        """The checkpoints of some epochs, and that of the end.

        Raises:
            ScenarioError: an epoch whose network was not kept, or that is the end of the run.
        """
        known = dict(zip(self.epochs[:-1], self.checkpoints[:-1], strict=True))
        missing = [epoch for epoch in epochs if epoch not in known]
        if missing:
            raise ScenarioError(
                f"the run kept no network of epoch {missing[0]} to forecast from; it kept {_listed(list(known))}",
                place="snapshots",
                remedy="Take some of these, or train with checkpoints: {snapshots: [...]}.",
            )
        return (*(known[epoch] for epoch in epochs), self.checkpoints[-1])

    def descent(self, epoch: int) -> Descent:
        """How the optimiser moves in the epoch that follows."""
        sizes = self.setup.step_sizes(self.member)
        step_size = float(sizes[min(epoch, len(sizes) - 1)])
        return Descent(step_size, self.optimizer.momentum, self.optimizer.nesterov)

    def history(self, problem: Problem, progress: Progress) -> History:
        """The residuals of all networks that were kept, normalised by the statistics of all training samples."""
        return network_history(self.checkpoints, problem, seconds=self.seconds, progress=progress)


def _in_float64(dataset: Dataset) -> Dataset:
    return dataclasses.replace(
        dataset,
        **{name: getattr(dataset, name).astype("float64") for name in ("inputs", "targets", "test_inputs")},
    )


def _listed(epochs: list[int]) -> str:
    return "epochs " + ", ".join(map(str, epochs)) if epochs else "none"
