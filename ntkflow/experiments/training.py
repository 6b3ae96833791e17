"""The `training` kind: a real run, measured at chosen epochs, saved on the way, and taken up where it was stopped."""

from __future__ import annotations

from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.training_rates import rates_group
from ntkflow.experiments.training_run import MEASURING, SAVING, TRAINING, TrainingRun
from ntkflow.experiments.training_setup import training_setup
from ntkflow.experiments.training_summary import training_summary
from ntkflow.experiments.training_tree import training_tree
from ntkflow.progress import Progress
from ntkflow.report import training_drawings


def run_training(
    scenario: schema.TrainingScenario, *, folder: Path, text: str, progress: Progress, checkpoints: Path | None = None
) -> Outcome:
    """Train, measure, and keep the networks.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told from epoch to epoch.
        checkpoints: where the run keeps what it can be resumed from, and goes on from what is there; None: nowhere.

    Raises:
        CheckpointError: a checkpoint cannot be written, or none of those that are there can be used.
        DataError: data that cannot be used.
        DivergenceError: training left the finite numbers.
        ScenarioError: kernels that cannot be measured, or epochs that the run does not reach.
    """
    setup = training_setup(scenario, folder)
    run = TrainingRun(setup, checkpoints)
    run.resume()
    run.to_the_end(progress)
    run.prune()
    rates = rates_group(run)
    tree = training_tree(run, rates, text)
    return Outcome(
        tree=tree,
        summary=training_summary(run, rates),
        drawings=training_drawings(tree),
        timings={
            "training": float(run.seconds[TRAINING]),
            "measuring": float(run.seconds[MEASURING]),
            "saving checkpoints": float(run.seconds[SAVING]),
        },
        files={
            f"network-{index:03d}.ckpt" if setup.stacked else "network.ckpt": run.network_file(index)
            for index in range(len(setup.members))
        },
    )
