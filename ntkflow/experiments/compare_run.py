"""What a comparison makes of a training run: kernels, forecasts, errors, tables, figures."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ntkflow.comparison import SnapshotComparison, compare_snapshot
from ntkflow.experiments.compared_run import ComparedRun
from ntkflow.experiments.comparison_summary import comparison_summary
from ntkflow.experiments.comparison_tree import comparison_tree
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.settings import integration
from ntkflow.progress import Progress
from ntkflow.report import comparison_drawings
from ntkflow.training import Checkpoint, MeasuredMoment, Snapshot, given_snapshot, measure_snapshot


def compare_run(run: ComparedRun, timings: Mapping[str, float], progress: Progress) -> Outcome:
    """Measure, forecast, compare, and put the result together.

    Args:
        run: what to compare with.
        timings: seconds of the stages before.
        progress: told from stage to stage.

    Raises:
        SolverError: a solver gave up.
    """
    started = time.perf_counter()
    snapshots: list[Snapshot] = []
    for index, moment in enumerate(run.moments):
        progress("measuring kernels", index, len(run.moments))
        snapshots.append(_measured(moment, run))
    progress("measuring kernels", len(run.moments), len(run.moments))
    measured = time.perf_counter()
    comparisons: list[SnapshotComparison] = []
    # The last moment is the end of training: nothing follows it that could be forecast.
    for index, snapshot in enumerate(snapshots[:-1]):
        comparisons.append(
            compare_snapshot(
                snapshot,
                run.history,
                run.problem,
                moments=snapshots,
                models=run.forecast.models,
                horizon=run.forecast.horizon,
                integration=integration(run.forecast.solver),
                descent=run.descent(index),
                progress=_share(progress, index, len(snapshots) - 1),
            )
        )
    compared = time.perf_counter()
    tree = comparison_tree(run, snapshots, comparisons)
    seconds = {**timings, "measuring kernels": measured - started, "forecasting": compared - measured}
    return Outcome(
        tree=tree,
        summary=comparison_summary(run, snapshots, comparisons, seconds),
        drawings=comparison_drawings(tree),
        timings=seconds,
    )


def _measured(moment: Checkpoint | MeasuredMoment, run: ComparedRun) -> Snapshot:
    if isinstance(moment, MeasuredMoment):
        return given_snapshot(moment, run.problem)
    return measure_snapshot(
        moment, run.problem, run.test_inputs, run.test_labels, kernel_precision=run.kernel_precision
    )


def _share(progress: Progress, index: int, count: int) -> Progress:
    """The progress of one of so many like pieces of work, as that of them all."""

    def told(stage: str, done: float, total: float) -> None:
        progress(stage, index * total + done, count * total)

    return told
