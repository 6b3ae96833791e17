"""The `kernel_change` kind: data → networks of every σ_w², depth, width → change of Θ, minimal loss."""

from __future__ import annotations

from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.experiments.kernel_change_run import STAGES, KernelChangeRun
from ntkflow.experiments.kernel_change_summary import kernel_change_summary
from ntkflow.experiments.kernel_change_tree import kernel_change_tree
from ntkflow.experiments.outcome import Outcome
from ntkflow.progress import Progress
from ntkflow.report import kernel_change_drawings


def run_kernel_change(
    scenario: schema.KernelChangeScenario,
    *,
    folder: Path,
    text: str,
    progress: Progress,
    checkpoints: Path | None = None,
) -> Outcome:
    """Train the networks of a plane to their ends and measure Θ on the way.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told how many pairs of width and depth are done, with fractions.
        checkpoints: where finished ones are kept, and taken up again; None: nowhere.

    Raises:
        CheckpointError: a checkpoint cannot be written, or none of those that are there can be used.
        DataError: data that cannot be used.
    """
    run = KernelChangeRun(scenario, folder, checkpoints)
    run.resume()
    run.to_the_end(progress)
    run.prune()
    tree = kernel_change_tree(run, text)
    return Outcome(
        tree=tree,
        summary=kernel_change_summary(run),
        drawings=kernel_change_drawings(tree),
        timings=dict(zip(STAGES, run.seconds.tolist(), strict=True)),
    )
