"""The `width` kind: data → networks of every width and seed → distances from the limit, with fitted exponents."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ntkflow import scenario as schema
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.regression_kernel import dual_of, infinite_kernels
from ntkflow.experiments.sources import load_tested_dataset
from ntkflow.experiments.width_run import Finite, WidthProblem, WidthRun
from ntkflow.experiments.width_summary import width_summary
from ntkflow.experiments.width_tree import width_tree
from ntkflow.flows import describe_loss_scale, loss_scale_value
from ntkflow.kernels.infinite import FullyConnectedKernel
from ntkflow.progress import Progress
from ntkflow.report import width_drawings
from ntkflow.training import Problem

_RECORDS = 16
"""About how many steps are recorded, logarithmically spaced."""


def run_width(scenario: schema.WidthScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Train networks of several widths and compare them with their linearisations and with the infinite limit.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told from network to network.

    Raises:
        DataError: data that cannot be used.
        DivergenceError: training whose loss left the finite numbers.
    """
    started = time.perf_counter()
    progress("infinite width", 0, 1)
    dataset = load_tested_dataset(
        scenario.data,
        seed=scenario.seed,
        folder=folder,
        test_samples_per_class=scenario.test_samples_per_class,
    )
    loss_scale = loss_scale_value(scenario.loss_scale, samples=dataset.inputs.shape[0], outputs=dataset.classes)
    section = scenario.network
    kernel = FullyConnectedKernel(
        dual_of(section.activation), section.hidden_layers + 1, section.sigma_w, section.sigma_b
    )
    kernels = infinite_kernels(kernel, dataset)
    problem = WidthProblem(
        scenario=scenario,
        dataset=dataset,
        problem=Problem.of(dataset, loss_scale),
        steps=_recorded(scenario.steps),
        theta=kernels[0].ntk,
    )
    infinite = problem.infinite(*kernels)
    progress("infinite width", 1, 1)
    limited = time.perf_counter()
    finite: list[tuple[Finite, ...]] = []
    done, count = 0, len(scenario.widths) * scenario.seeds
    for width in scenario.widths:
        row: list[Finite] = []
        for seed in range(scenario.seeds):
            progress("networks", done, count)
            row.append(problem.finite(width, seed))
            done += 1
        finite.append(tuple(row))
    progress("networks", count, count)
    run = WidthRun(
        scenario=scenario,
        dataset=dataset,
        z=describe_loss_scale(scenario.loss_scale, loss_scale),
        steps=problem.steps,
        infinite=infinite,
        finite=tuple(finite),
    )
    tree = width_tree(run, text)
    return Outcome(
        tree=tree,
        summary=width_summary(run),
        drawings=width_drawings(tree),
        timings={"infinite width": limited - started, "networks": time.perf_counter() - limited},
    )


def _recorded(steps: int) -> np.ndarray:
    return np.unique(np.rint(np.append(0, np.geomspace(1, steps, _RECORDS))).astype(int))
