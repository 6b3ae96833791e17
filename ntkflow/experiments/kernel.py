"""The `kernel` kind: data → network → training → kernels at moments → values, structure, spectra, change."""

from __future__ import annotations

import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ntkflow import scenario as schema
from ntkflow.experiments.kernel_moment import KernelMoment, measure_kernel
from ntkflow.experiments.kernel_network import starting_network, trained
from ntkflow.experiments.kernel_run import KernelRun
from ntkflow.experiments.kernel_summary import kernel_summary
from ntkflow.experiments.kernel_tree import kernel_tree
from ntkflow.experiments.kernel_values import measure_values
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.sources import load_dataset
from ntkflow.flows import describe_loss_scale, loss_scale_value
from ntkflow.kernels.empirical import Of
from ntkflow.networks import encode_checkpoint
from ntkflow.progress import Progress
from ntkflow.report import kernel_drawings
from ntkflow.training import Checkpoint, Problem, accuracy, residual_matrix

STAGE = "measuring kernels"


def run_kernel(scenario: schema.KernelScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Measure the kernels of a network at initialisation, during training, or of a checkpoint.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told from stage to stage, and from tile to tile.

    Raises:
        CheckpointError: a file that is damaged, or holds no network for these data.
        DataError: data that cannot be used.
        DivergenceError: training whose loss left the finite numbers.
        ScenarioError: too little memory, statistics that the network does not have, a kernel that is 0 or not finite.
    """
    started = time.perf_counter()
    samples = load_dataset(scenario.data, seed=scenario.seed, folder=folder)
    if scenario.measure.samples_per_class is not None:
        samples = samples.first_of_each(scenario.measure.samples_per_class)
    start = starting_network(scenario, samples, folder)
    dataset = start.dataset
    loss_scale = loss_scale_value(scenario.loss_scale, samples=dataset.inputs.shape[0], outputs=dataset.classes)
    problem = Problem.of(dataset, loss_scale)
    moments = trained(start, problem, scenario, progress)
    measuring = time.perf_counter()
    kernels: dict[str, tuple[KernelMoment, ...]] = {}
    for index, of in enumerate(scenario.measure.of):
        kernels[of] = _kernels(scenario, problem, moments, of, index, start.step, progress)
    run = KernelRun(
        scenario=scenario,
        dataset=dataset,
        parameters=start.network.parameter_count(),
        origin=start.origin,
        normalization=start.normalization,
        z=describe_loss_scale(scenario.loss_scale, loss_scale),
        loss_scale=loss_scale,
        steps=np.array([start.step + (moment.step or 0) for moment in moments]),
        times=np.array([moment.time for moment in moments]),
        losses=tuple(float(jnp.sum(residual_matrix(problem, m.network) ** 2)) / (2 * loss_scale) for m in moments),
        accuracies=tuple(float(accuracy(m.network, dataset.inputs, dataset.labels)) for m in moments),
        kernels=kernels,
    )
    tree = kernel_tree(run, text)
    return Outcome(
        tree=tree,
        summary=kernel_summary(run),
        drawings=kernel_drawings(tree),
        timings={"training": measuring - started, STAGE: time.perf_counter() - measuring},
        files=_files(scenario, start.built, start.step, moments[-1]),
    )


def _kernels(
    scenario: schema.KernelScenario,
    problem: Problem,
    moments: tuple[Checkpoint, ...],
    of: Of,
    index: int,
    start_step: int,
    progress: Progress,
) -> tuple[KernelMoment, ...]:
    """One kernel at all moments. The first moment's matrix is kept for comparison, and so are those to be stored."""
    found: list[KernelMoment] = []
    total = len(scenario.measure.of) * len(moments)
    for number, moment in enumerate(moments):
        before = index * len(moments) + number
        progress(STAGE, before, total)
        place = f"measure.of: {of}, at step {start_step + (moment.step or 0)}"
        if scenario.measure.which == "values":
            # The same combinations at all moments, so that what changes is the network.
            key = named_key(scenario.seed, "random outputs", of)
            found.append(
                measure_values(
                    moment.network,
                    problem.inputs,
                    problem.classes,
                    of=of,
                    measure=scenario.measure,
                    key=key,
                    place=place,
                    progress=_part(progress, before, total),
                )
            )
        else:
            found.append(
                measure_kernel(
                    moment.network,
                    problem.inputs,
                    problem.classes,
                    found[0] if found else None,
                    of=of,
                    measure=scenario.measure,
                    place=place,
                    progress=_part(progress, before, total),
                )
            )
    progress(STAGE, (index + 1) * len(moments), total)
    return tuple(found)


def _part(progress: Progress, before: int, kernels: int) -> Progress:
    """The tiles of one kernel as a part of all kernels; the end of the stage is told elsewhere."""

    def told(stage: str, done: float, total: float) -> None:
        progress(STAGE, before + min(done / max(total, 1), 0.99), kernels)

    return told


def _files(scenario: schema.KernelScenario, built: object, start_step: int, last: Checkpoint) -> dict[str, bytes]:
    if not scenario.checkpoint.save:
        return {}
    details = {"network": built, "scenario": scenario.name, "loss_scale": scenario.loss_scale}
    step = start_step + (last.step or 0)
    return {"network.ckpt": encode_checkpoint(last.network, step=step, seed=scenario.seed, details=details)}
