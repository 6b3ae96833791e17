"""The `run_comparison` kind: a training run that is there → measured kernels → forecasts → comparison."""

from __future__ import annotations

from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.experiments.compare_run import compare_run
from ntkflow.experiments.compared_run import ComparedRun
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.stored_run import StoredRun
from ntkflow.experiments.training_summary import optimizer_in_words, schedule_in_words
from ntkflow.progress import Progress
from ntkflow.training import Problem

_DECAYED = 0.1
"""Weight decay by more than this many e-folds within a forecast is worth a warning."""


def run_stored_comparison(
    scenario: schema.RunComparisonScenario, *, folder: Path, text: str, progress: Progress
) -> Outcome:
    """Forecast from a training run's snapshots.

    Args:
        scenario: what to compare.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told from stage to stage.

    Raises:
        CheckpointError: a network that is damaged, or of another kind than the run's.
        DataError: data that cannot be used.
        ResultFolderError: no complete result there, or a file of it has changed.
        ScenarioError: a result without what is asked for.
        SolverError: a solver gave up.
    """
    stored = StoredRun.of(scenario, folder)
    moments = stored.at(scenario.snapshots)
    problem = Problem.of(stored.dataset, stored.setup.loss_scale)
    history = stored.history(problem, progress)
    run = ComparedRun(
        kind="run_comparison",
        name=scenario.name,
        description=scenario.description,
        seed=scenario.seed,
        text=text,
        statements=_statements(stored),
        problem=problem,
        z=stored.setup.z,
        test_inputs=stored.dataset.test_inputs,
        test_labels=stored.dataset.test_labels,
        history=history,
        moments=moments,
        descents=tuple(stored.descent(epoch) for epoch in (*scenario.snapshots, stored.epochs[-1])),
        forecast=scenario.forecast,
        warnings=_warnings(stored, scenario),
        kernel_precision=stored.setup.scenario.training.precision,
    )
    return compare_run(run, {"training": stored.seconds / len(stored.setup.members)}, progress)


def _statements(stored: StoredRun) -> tuple[str, ...]:
    setup, training = stored.setup, stored.setup.scenario.training
    recipe, last = setup.recipe, stored.checkpoints[-1]
    batches = "all samples" if recipe.full_batch else f"batches of {recipe.batch_size}"
    share = f"a share of 1/{len(setup.members)} of that of all members" if setup.stacked else ""
    seconds = f" Its training took {stored.seconds / len(setup.members):.3g} s{', ' + share if share else ''}."
    many = f" Member {setup.members.index(stored.member)} of {len(setup.members)}: {stored.member}." * setup.stacked
    batch_norm = (
        " R, the whole Θ and the whole Θʰ are those of the network normalised by the statistics of all training "
        "samples, through which derivatives go; kernels over pairs of samples are of the function of one sample that "
        "holds these statistics fixed."
        if setup.normalization
        else ""
    )
    single = (
        " Kernels over pairs of samples are measured in float32, in which the network was trained: their block values "
        "are off by about 1e-7 of them."
        if training.precision == "float32"
        else ""
    )
    return (
        f"{stored.dataset}.",
        f"The run “{setup.scenario.name}”: a {setup.scenario.network.kind} of {last.network.parameter_count()} "
        f"parameters trained in {training.precision} for {stored.epochs[-1]} epochs of {recipe.steps_per_epoch} steps, "
        f"{batches}; loss ‖R‖²/(2Z), {setup.z}. {optimizer_in_words(training)}, {schedule_in_words(training)}."
        f"{many}{seconds}",
        f"Gradient-flow time is Σ η/(1 − β), {last.time:g} at the end. Forecasts are compared with the "
        f"{len(stored.checkpoints)} networks that the run kept, in float64.{single}{batch_norm}",
    )


def _warnings(stored: StoredRun, scenario: schema.RunComparisonScenario) -> tuple[str, ...]:
    optimizer = stored.optimizer
    found: list[str] = []
    rate = optimizer.weight_decay * (1 if optimizer.decay == "coupled" else 1 - optimizer.momentum)
    first = stored.at(scenario.snapshots)[0].time
    reach = stored.checkpoints[-1].time - first
    if scenario.forecast.horizon is not None:
        reach = min(reach, scenario.forecast.horizon)
    if rate * reach > _DECAYED:
        found.append(
            f"Weight decay takes up to {rate * reach:.2g} e-folds off the parameters within a forecast's horizon, and "
            f"no model of the forecasts knows of it: they are about times well below 1/λ = {1 / rate:.3g}."
        )
    if not stored.setup.recipe.full_batch:
        found.append(
            "Trained on batches: the forecasts are flows of the loss of all samples, and know nothing of the noise of "
            "batches."
        )
    return tuple(found)
