"""From a loaded scenario to a finished result folder."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import assert_never

from ntkflow.errors import InterruptedRun, UserError
from ntkflow.experiments.comparison import run_comparison
from ntkflow.experiments.dispersion import run_dispersion
from ntkflow.experiments.end_of_training import run_end_of_training
from ntkflow.experiments.flow import run_flow
from ntkflow.experiments.kernel import run_kernel
from ntkflow.experiments.kernel_change import run_kernel_change
from ntkflow.experiments.mean_field import run_mean_field
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.regression import run_regression
from ntkflow.experiments.relaxation import run_relaxation
from ntkflow.experiments.residuals import run_residuals
from ntkflow.experiments.run_comparison import run_stored_comparison
from ntkflow.experiments.training import run_training
from ntkflow.experiments.width import run_width
from ntkflow.experiments.write_result import write_outcome
from ntkflow.progress import Progress, silent
from ntkflow.results import ResultFolder, Summary
from ntkflow.scenario import (
    ComparisonScenario,
    DispersionScenario,
    EndOfTrainingScenario,
    FlowScenario,
    KernelChangeScenario,
    KernelScenario,
    LoadedScenario,
    MeanFieldScenario,
    RegressionScenario,
    RelaxationScenario,
    ResidualsScenario,
    RunComparisonScenario,
    Scenario,
    TrainingScenario,
    WidthScenario,
    resolved_yaml,
)

_RESUMABLE = TrainingScenario | KernelChangeScenario | DispersionScenario
"""Kinds whose stopped runs go on where they were."""


def run_scenario(
    loaded: LoadedScenario, output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> tuple[Path, Summary]:
    """Run a scenario and write its result folder.

    Args:
        loaded: from :func:`ntkflow.scenario.load_scenario`.
        output: the folder to make.
        overwrite: whether an earlier result there may be replaced; it stays whole until the new one is complete.
        progress: told from stage to stage.

    Returns:
        The folder and its headline.

    Raises:
        UserError: anything the user can mend; says what was left where.
        InterruptedRun: after Ctrl-C; says what was left where.
    """
    text = resolved_yaml(loaded.scenario)
    resumes = (
        text if isinstance(loaded.scenario, TrainingScenario | KernelChangeScenario | DispersionScenario) else None
    )
    folder = ResultFolder.create(output, overwrite=overwrite, resumes=resumes)
    try:
        summary = _run(loaded, text, folder, progress)
    except UserError as error:
        raise type(error)(error.what, place=error.place, remedy=_joined(error.remedy, folder.abandon())) from error
    except KeyboardInterrupt:
        raise InterruptedRun("interrupted", remedy=folder.abandon()) from None
    except Exception as error:
        if _is_about_memory(error):
            remedy = "Ask for less: fewer samples, a smaller network, fewer saved times or records."
            raise UserError(
                "there is not enough memory for this scenario", remedy=_joined(remedy, folder.abandon())
            ) from None
        error.add_note(folder.abandon())
        raise
    return folder.path, summary


def experiment(
    scenario: Scenario, *, folder: Path, text: str, progress: Progress = silent, checkpoints: Path | None = None
) -> Outcome:
    """Run the experiment of a scenario's kind, without writing anything but checkpoints.

    Args:
        scenario: what to run.
        folder: where relative paths in it start.
        text: the scenario as YAML, kept with the results.
        progress: told from stage to stage.
        checkpoints: where a run that can be resumed keeps what it needs for that; None: it cannot be resumed.

    Raises:
        UserError: anything the user can mend.
    """
    match scenario:
        case FlowScenario():
            return run_flow(scenario, folder=folder, text=text, progress=progress)
        case EndOfTrainingScenario():
            return run_end_of_training(scenario, folder=folder, text=text, progress=progress)
        case RegressionScenario():
            return run_regression(scenario, folder=folder, text=text, progress=progress)
        case ResidualsScenario():
            return run_residuals(scenario, folder=folder, text=text, progress=progress)
        case RelaxationScenario():
            return run_relaxation(scenario, folder=folder, text=text, progress=progress)
        case ComparisonScenario():
            return run_comparison(scenario, folder=folder, text=text, progress=progress)
        case RunComparisonScenario():
            return run_stored_comparison(scenario, folder=folder, text=text, progress=progress)
        case KernelScenario():
            return run_kernel(scenario, folder=folder, text=text, progress=progress)
        case WidthScenario():
            return run_width(scenario, folder=folder, text=text, progress=progress)
        case MeanFieldScenario():
            return run_mean_field(scenario, folder=folder, text=text, progress=progress)
        case KernelChangeScenario():
            return run_kernel_change(scenario, folder=folder, text=text, progress=progress, checkpoints=checkpoints)
        case DispersionScenario():
            return run_dispersion(scenario, text=text, progress=progress, checkpoints=checkpoints)
        case TrainingScenario():
            return run_training(scenario, folder=folder, text=text, progress=progress, checkpoints=checkpoints)
    assert_never(scenario)


def _run(loaded: LoadedScenario, text: str, folder: ResultFolder, progress: Progress) -> Summary:
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    folder.write_text("scenario.yaml", text)
    outcome = experiment(
        loaded.scenario, folder=loaded.path.parent, text=text, progress=progress, checkpoints=folder.checkpoints
    )
    write_outcome(
        folder, outcome, text=text, seed=loaded.scenario.seed, started=started, clock=clock, progress=progress
    )
    return outcome.summary


def _is_about_memory(error: Exception) -> bool:
    # JAX says so in words only.
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)


def _joined(remedy: str | None, left: str) -> str:
    return left if remedy is None else f"{remedy}\n  {left}"
