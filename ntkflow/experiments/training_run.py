"""A training run: from stop to stop, measured, saved, and taken up again where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ntkflow.errors import DivergenceError
from ntkflow.experiments.latest_usable import latest_usable
from ntkflow.experiments.training_setup import Member, TrainingSetup
from ntkflow.networks import AbstractClassifier, encode_checkpoint
from ntkflow.progress import Progress, silent
from ntkflow.training import CHUNK, CheckpointSeries, TrainingState, member, run_ensemble_steps, run_steps, train_until
from ntkflow.training.observations import Moment, cost_variable, observe, references_of

Arrays = dict[str, np.ndarray]
TRAINING, MEASURING, SAVING = range(3)
STAGES = ("training", "measuring", "saving")


class TrainingRun:
    """One run and what it has recorded.

    All arrays are made before the first step, NaN where nothing was measured yet, so that a checkpoint has one shape
    from the beginning to the end.

    Args:
        setup: what to run.
        folder: where checkpoints are; None: nowhere, and the run cannot be resumed. Lasting snapshots go beside it.

    Attributes:
        setup: what is run.
        state: where training stands, stacked for an ensemble.
        epochs: what every epoch's own batches measured: loss, accuracy and, at the last step, the gradient's norm; by
            member and epoch.
        records: by group and variable, with axes member and record first.
        record_epochs: the epoch of every record; −1 where none was made.
        costs: seconds of measuring, by member, record and kind of work.
        training_seconds: wall time of training up to every record, since the one before.
        seconds: wall time spent on training, measuring and saving, of all sessions.
        diverged: the epoch by which each member's numbers were not finite any more; −1 for those that are fine.
        messages: what has to be told about resuming.
    """

    def __init__(self, setup: TrainingSetup, folder: Path | None) -> None:
        self.setup = setup
        self._series = None if folder is None else CheckpointSeries(folder, setup.scenario.checkpoints.keep)
        self._folder = folder
        self.messages: tuple[str, ...] = ()
        members, records, epochs = len(setup.members), len(setup.epochs), setup.scenario.training.epochs
        observed = setup.observed
        self.state: TrainingState = setup.start()
        self.epochs: Arrays = {
            name: np.full((members, epochs), np.nan) for name in ("loss", "accuracy", "gradient_norm")
        }
        self.records: dict[str, Arrays] = {
            observation.name: {
                variable.name: variable.empty(members, records) for variable in observation.variables(observed)
            }
            for observation in setup.observations
        }
        self.references: dict[str, Arrays] = {
            observation.name: {
                variable.name: variable.empty(members) for variable in observation.reference_variables(observed)
            }
            for observation in setup.observations
        }
        self.record_epochs = np.full(records, -1)
        self.costs = cost_variable(setup.observations).empty(members, records)
        self.training_seconds = np.full(records, np.nan)
        self.seconds = np.zeros(len(STAGES))
        self.diverged = np.full(members, -1)
        self._ended = np.zeros((), bool)
        rule = setup.rule()
        self._rule_state: Any = () if rule is None else rule.start()

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(np.max(self.state.epoch))

    @property
    def ended(self) -> bool:
        """Whether a rule has ended training before its last epoch."""
        return bool(self._ended)

    def resume(self) -> int | None:
        """Take up the newest checkpoint that is whole, and say its epoch; None if there is none.

        Raises:
            CheckpointError: there are checkpoints, and none of them can be used.
        """
        if self._series is None:
            return None
        found = latest_usable(self._series, self.tree())
        if found.tree is None:
            return None
        self.messages = tuple(f"Not used: {message}" for message in found.refused)
        self._take(found.tree)
        self.messages += (f"Resumed from the checkpoint of epoch {found.epoch}.",)
        return found.epoch

    def to_the_end(self, progress: Progress = silent) -> None:
        """Train, measure and save until the last epoch, or until a rule or divergence ends it.

        Raises:
            DivergenceError: training, or that of every member, left the finite numbers.
            CheckpointError: a checkpoint cannot be written.
            ScenarioError: kernels that cannot be measured.
        """
        setup = self.setup
        last = setup.scenario.training.epochs
        if self.record_epochs[0] < 0:
            self._measure(progress)
            if 0 in setup.scenario.checkpoints.snapshots:
                self._keep()
            self._save()
        for stop in setup.stops:
            if stop <= self.epoch or self.ended:
                continue
            self._train(stop, progress)
            if self.ended or stop in setup.epochs:
                self._measure(progress)
            if stop in setup.scenario.checkpoints.snapshots:
                self._keep()
            self._save()
        records = len(setup.epochs) * len(setup.members)
        progress("training", last, last)
        progress("measuring", records, records)

    def prune(self) -> None:
        """Keep the last checkpoint only: the finished run, with the optimiser's state, as a part of the result."""
        if self._series is not None:
            for epoch in self._series.epochs()[:-1]:
                self._series.path(epoch).unlink(missing_ok=True)

    def details(self, one: Member) -> Mapping[str, Any]:
        """What a network's file says of itself, so that kernel scenarios can build it."""
        scenario = self.setup.scenario
        return {
            "network": scenario.network.model_dump(mode="json"),
            "precision": scenario.training.precision,
            "scenario": scenario.name,
            "loss_scale": scenario.loss_scale,
            "member": {"seed": one.seed, "step_size": one.step_size, "initial_scale": one.initial_scale},
        }

    def network_file(self, index: int) -> bytes:
        """A member's network as a checkpoint that stands by itself."""
        return encode_checkpoint(
            self._network(index),
            step=self.epoch * self.setup.recipe.steps_per_epoch,
            seed=self.setup.scenario.seed,
            details=self.details(self.setup.members[index]),
        )

    def _train(self, stop: int, progress: Progress) -> None:
        """To an epoch, or to where the rule stops, in pieces that are the same in a run that was resumed."""
        setup, started = self.setup, time.perf_counter()
        recipe, schedule, rule = setup.recipe, setup.schedule(), setup.rule()
        while self.epoch < stop and not self.ended:
            first = self.epoch
            progress("training", first, setup.scenario.training.epochs)
            epochs = min(CHUNK, stop - first) if recipe.full_batch else 1
            steps = epochs * recipe.steps_per_epoch
            if setup.stacked:
                self.state, found = run_ensemble_steps(recipe, self.state, schedule, steps)
                losses, accuracies, norms = found.losses, found.accuracies, found.gradient_norm
                self.diverged[found.diverged & (self.diverged < 0)] = first + epochs
            else:
                if rule is None:
                    self.state, one = run_steps(recipe, self.state, schedule, steps)
                else:
                    self.state, self._rule_state, one, ended = train_until(
                        recipe, self.state, schedule, rule, self._rule_state, steps
                    )
                    self._ended = np.asarray(ended)
                losses, accuracies, norms = one.losses[:, None], one.accuracies[:, None], one.gradient_norm
            whole = min(len(losses) // recipe.steps_per_epoch, epochs)
            trained = slice(first, first + whole)
            self.epochs["loss"][:, trained] = _means(losses, whole, recipe.steps_per_epoch)
            self.epochs["accuracy"][:, trained] = _means(accuracies, whole, recipe.steps_per_epoch)
            self.epochs["gradient_norm"][:, first + whole - 1] = norms
        self.seconds[TRAINING] += time.perf_counter() - started

    def measure_once(self, progress: Progress) -> None:
        """Measure what the first record measures, and forget it: to see how long it takes."""
        self._measure(progress, 0)
        self.record_epochs[:] = -1

    def _measure(self, progress: Progress, epoch: int | None = None) -> None:
        setup, started = self.setup, time.perf_counter()
        slot, epoch = int(np.argmax(self.record_epochs < 0)), self.epoch if epoch is None else epoch
        members, total = len(setup.members), len(setup.epochs) * len(setup.members)
        for index, one in enumerate(setup.members):
            progress("measuring", slot * members + index, total)
            if self.diverged[index] >= 0:
                continue
            moment = self._moment(index, one, epoch)
            try:
                if slot == 0:
                    for name, arrays in references_of(setup.observations, moment).items():
                        for variable, values in arrays.items():
                            self.references[name][variable][index] = values
                references = {
                    name: {variable: values[index] for variable, values in arrays.items()}
                    for name, arrays in self.references.items()
                }
                measured, seconds = observe(setup.observations, moment, references)
            except DivergenceError:
                if not setup.stacked:
                    raise
                self.diverged[index] = epoch
                continue
            for name, arrays in measured.items():
                for variable, values in arrays.items():
                    self.records[name][variable][index, slot] = values
            self.costs[index, slot] = list(seconds.values())
        self.record_epochs[slot] = epoch
        self.training_seconds[slot] = self.seconds[TRAINING] - np.nansum(self.training_seconds[:slot])
        self.seconds[MEASURING] += time.perf_counter() - started

    def _moment(self, index: int, one: Member, epoch: int) -> Moment:
        return self.setup.moment(self._network(index), one, epoch, float(self.setup.times(one)[epoch]))

    def _network(self, index: int) -> AbstractClassifier:
        """A member's network, on one device: everything but training is done there."""
        network = member(self.state, index).network if self.setup.stacked else self.state.network
        if self.setup.mesh is None:
            return network
        arrays, rest = eqx.partition(network, eqx.is_array)
        return eqx.combine(jax.device_put(arrays, jax.devices()[0]), rest)

    def tree(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, and all that was recorded: what a checkpoint holds."""
        return {
            "state": self.state,
            "rule": self._rule_state,
            "epochs": self.epochs,
            "records": self.records,
            "references": self.references,
            "record_epochs": self.record_epochs,
            "costs": self.costs,
            "training_seconds": self.training_seconds,
            "seconds": self.seconds,
            "diverged": self.diverged,
            "ended": self._ended,
        }

    def _take(self, tree: dict[str, Any]) -> None:
        self.state, self._rule_state = self.setup.placed(tree["state"]), tree["rule"]
        self.epochs, self.records, self.references = tree["epochs"], tree["records"], tree["references"]
        self.record_epochs, self.costs = tree["record_epochs"], tree["costs"]
        self.training_seconds = tree["training_seconds"]
        self.seconds, self.diverged, self._ended = tree["seconds"], tree["diverged"], tree["ended"]

    def _save(self) -> None:
        if self._series is None:
            return
        started = time.perf_counter()
        epoch = self.epoch
        step = epoch * self.setup.recipe.steps_per_epoch
        self._series.save(self.tree(), epoch=epoch, step=step, seed=self.setup.scenario.seed)
        self.seconds[SAVING] += time.perf_counter() - started

    def _keep(self) -> None:
        """The networks of this epoch, for good."""
        if self._folder is None:
            return
        setup = self.setup
        for index, one in enumerate(setup.members):
            folder = snapshot_folder(self._folder.parent, index, setup)
            CheckpointSeries(folder).save_lasting(
                self._network(index),
                epoch=self.epoch,
                step=self.epoch * setup.recipe.steps_per_epoch,
                seed=setup.scenario.seed,
                details=self.details(one),
            )


def snapshot_folder(folder: Path, index: int, setup: TrainingSetup) -> Path:
    """Where a member's snapshots are kept in a result."""
    return folder / "snapshots" / f"member-{index:03d}" if setup.stacked else folder / "snapshots"


def _means(values: np.ndarray, epochs: int, per_epoch: int) -> np.ndarray:
    """Means over the steps of each epoch, members first."""
    whole = values[: epochs * per_epoch].reshape(epochs, per_epoch, -1)
    return whole.mean(axis=1, dtype=float).T


def parameter_count(state: TrainingState, *, stacked: bool) -> int:
    """Parameters of one network."""
    leaves = jax.tree.leaves(eqx.filter(state.network, eqx.is_inexact_array))
    return sum(leaf[0].size if stacked else leaf.size for leaf in leaves)
