"""The `dispersion` kind: formulas and random networks over a grid of initialisations."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.experiments.dispersion_run import run_grid
from ntkflow.experiments.dispersion_summary import dispersion_summary
from ntkflow.experiments.dispersion_tree import dispersion_tree
from ntkflow.experiments.outcome import Outcome
from ntkflow.progress import Progress
from ntkflow.report import dispersion_drawings


def run_dispersion(
    scenario: schema.DispersionScenario, *, text: str, progress: Progress, checkpoints: Path | None = None
) -> Outcome:
    """Compute E Θ²/E² Θ by formulas and from random networks.

    Args:
        scenario: what to run.
        text: the resolved scenario, kept with the results.
        progress: told from point to point.
        checkpoints: where finished points are kept until the run is complete; a stopped run goes on from there.

    Raises:
        UserError: numbers beyond float64, for activations that are not homogeneous.
    """
    started = time.perf_counter()
    run = run_grid(scenario, checkpoints=checkpoints, progress=progress)
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    tree = dispersion_tree(run, text)
    return Outcome(
        tree=tree,
        summary=dispersion_summary(run),
        drawings=dispersion_drawings(tree),
        timings={"grid": time.perf_counter() - started},
    )
