"""The `comparison` kind, the main job: data → network → training → measured kernels → forecasts → comparison."""

from __future__ import annotations

import time
from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.comparison import SnapshotComparison, compare_snapshot
from ntkflow.experiments.comparison_network import StartingMLP
from ntkflow.experiments.comparison_summary import comparison_summary
from ntkflow.experiments.comparison_tree import comparison_tree
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.settings import integration
from ntkflow.experiments.sources import load_dataset
from ntkflow.flows import describe_loss_scale, loss_scale_value
from ntkflow.networks import MLP
from ntkflow.progress import Progress
from ntkflow.report import comparison_drawings
from ntkflow.training import (
    Checkpoint,
    History,
    Problem,
    Snapshot,
    measure_snapshot,
    train_by_gradient_descent,
    train_by_gradient_flow,
)


def run_comparison(scenario: schema.ComparisonScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Train a network, measure its kernels at every snapshot, forecast what follows, and compare.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told from stage to stage.

    Raises:
        CheckpointError: a file that is damaged, or holds no network for these data or for a forecast.
        DataError: data that cannot be used.
        DivergenceError: training whose loss left the finite numbers.
        SolverError: a solver gave up.
    """
    timings: dict[str, float] = {}
    dataset = load_dataset(scenario.data, seed=scenario.seed, folder=folder)
    loss_scale = loss_scale_value(scenario.loss_scale, samples=dataset.inputs.shape[0], outputs=dataset.classes)
    problem = Problem.of(dataset, loss_scale)
    start = StartingMLP.of(scenario, dataset, folder)
    history = _train(scenario.training, start.network, problem, progress)
    timings["training"] = history.seconds

    started = time.perf_counter()
    step = None if history.steps is None else int(history.steps[-1])
    moments = (*history.checkpoints, Checkpoint(float(history.times[-1]), step, history.final))
    snapshots: list[Snapshot] = []
    for index, checkpoint in enumerate(moments):
        progress("measuring kernels", index, len(moments))
        snapshots.append(measure_snapshot(checkpoint, problem, dataset.test_inputs, dataset.test_labels))
    progress("measuring kernels", len(moments), len(moments))
    timings["measuring kernels"] = time.perf_counter() - started

    started = time.perf_counter()
    step_size = scenario.training.step_size if isinstance(scenario.training, schema.GradientDescent) else None
    comparisons: list[SnapshotComparison] = []
    # The last moment is the end of training: nothing follows it that could be forecast.
    for index, snapshot in enumerate(snapshots[:-1]):
        comparisons.append(
            compare_snapshot(
                snapshot,
                history,
                problem,
                moments=snapshots,
                models=scenario.forecast.models,
                horizon=scenario.forecast.horizon,
                integration=integration(scenario.forecast.solver),
                step_size=step_size,
                progress=_share(progress, index, len(snapshots) - 1),
            )
        )
    timings["forecasting"] = time.perf_counter() - started

    z = describe_loss_scale(scenario.loss_scale, loss_scale)
    tree = comparison_tree(scenario, history, snapshots, comparisons, z=z, text=text)
    return Outcome(
        tree=tree,
        summary=comparison_summary(scenario, start, dataset, history, snapshots, comparisons, z=z, step_size=step_size),
        drawings=comparison_drawings(tree),
        timings=timings,
    )


def _share(progress: Progress, index: int, count: int) -> Progress:
    """The progress of one of so many like pieces of work, as that of them all."""

    def told(stage: str, done: float, total: float) -> None:
        progress(stage, index * total + done, count * total)

    return told


def _train(training: schema.Training, network: MLP, problem: Problem, progress: Progress) -> History:
    match training:
        case schema.GradientDescent():
            return train_by_gradient_descent(
                network,
                problem,
                step_size=training.step_size,
                steps=training.steps,
                snapshots=training.snapshots,
                records=training.records,
                progress=progress,
            )
        case schema.GradientFlow():
            return train_by_gradient_flow(
                network,
                problem,
                end_time=training.end_time,
                snapshots=training.snapshots,
                records=training.records,
                integration=integration(training.solver),
                progress=progress,
            )
