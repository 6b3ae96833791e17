"""The `mean_field` kind: phases of a plane, profiles over depth and kernels of a few initialisations."""

from __future__ import annotations

import time
from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.experiments.mean_field_run import MeanFieldRun, follow, phase_plane
from ntkflow.experiments.mean_field_summary import mean_field_summary
from ntkflow.experiments.mean_field_tree import mean_field_tree
from ntkflow.experiments.outcome import Outcome
from ntkflow.flows import describe_loss_scale, loss_scale_value
from ntkflow.progress import Progress
from ntkflow.report import mean_field_drawings


def run_mean_field(scenario: schema.MeanFieldScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Compute phases, profiles and kernels of random networks of infinite width.

    Args:
        scenario: what to run.
        folder: where relative paths start; there are none.
        text: the resolved scenario, kept with the results.
        progress: told from initialisation to initialisation.

    Raises:
        ScenarioError: an edge of chaos that does not exist.
    """
    started = time.perf_counter()
    progress("phases", 0, 1)
    plane = phase_plane(scenario)
    progress("phases", 1, 1)
    between = time.perf_counter()
    followed, count = [], len(scenario.initializations)
    for index in range(count):
        progress("profiles", index, count)
        followed.append(follow(scenario, index))
    progress("profiles", count, count)
    scale = loss_scale_value(scenario.loss_scale, samples=scenario.samples, outputs=1)
    run = MeanFieldRun(
        scenario=scenario,
        z=describe_loss_scale(scenario.loss_scale, scale),
        loss_scale=scale,
        plane=plane,
        followed=tuple(followed),
    )
    tree = mean_field_tree(run, text)
    return Outcome(
        tree=tree,
        summary=mean_field_summary(run),
        drawings=mean_field_drawings(tree),
        timings={"phases": between - started, "profiles": time.perf_counter() - between},
    )
