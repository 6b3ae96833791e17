"""The `comparison` kind, the main job: data → network → training → measured kernels → forecasts → comparison."""

from __future__ import annotations

from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.comparison import Descent
from ntkflow.data import Dataset
from ntkflow.experiments.compare_run import compare_run
from ntkflow.experiments.compared_run import ComparedRun
from ntkflow.experiments.comparison_network import StartingMLP
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.settings import integration
from ntkflow.experiments.sources import load_dataset
from ntkflow.flows import describe_loss_scale, loss_scale_value
from ntkflow.networks import MLP
from ntkflow.progress import Progress
from ntkflow.training import (
    History,
    Problem,
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
    dataset = load_dataset(scenario.data, seed=scenario.seed, folder=folder)
    loss_scale = loss_scale_value(scenario.loss_scale, samples=dataset.inputs.shape[0], outputs=dataset.classes)
    problem = Problem.of(dataset, loss_scale)
    start = StartingMLP.of(scenario, dataset, folder)
    history = _train(scenario.training, start.network, problem, progress)
    descents = None
    if isinstance(scenario.training, schema.GradientDescent):
        descents = (Descent(scenario.training.step_size),) * len(history.moments)
    z = describe_loss_scale(scenario.loss_scale, loss_scale)
    run = ComparedRun(
        kind="comparison",
        name=scenario.name,
        description=scenario.description,
        seed=scenario.seed,
        text=text,
        statements=_statements(scenario, start, dataset, history, z),
        problem=problem,
        z=z,
        test_inputs=dataset.test_inputs,
        test_labels=dataset.test_labels,
        history=history,
        moments=history.moments,
        descents=descents,
        forecast=scenario.forecast,
    )
    return compare_run(run, {"training": history.seconds}, progress)


def _statements(
    scenario: schema.ComparisonScenario, start: StartingMLP, dataset: Dataset, history: History, z: str
) -> tuple[str, ...]:
    how = f"exact gradient flow to t = {history.times[-1]:g}"
    if isinstance(scenario.training, schema.GradientDescent):
        step_size, end = scenario.training.step_size, history.times[-1]
        how = f"{scenario.training.steps} full-batch gradient-descent steps of {step_size:g} (t = {end:g})"
    built = start.built
    sizes = "-".join(map(str, [dataset.inputs[0].size, *built.hidden_widths, built.features, dataset.classes]))
    return (
        f"{dataset}.",
        *([f"{start.origin}."] if start.origin else []),
        f"{built.activation} network {sizes}, {start.network.parameter_count()} parameters, {how}, loss "
        f"‖R‖²/(2Z), {z}.",
    )


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
