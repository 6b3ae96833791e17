"""From a loaded scenario to a finished result folder."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import assert_never

from ntkflow.errors import InterruptedRun, UserError
from ntkflow.experiments.comparison import run_comparison
from ntkflow.experiments.end_of_training import run_end_of_training
from ntkflow.experiments.flow import run_flow
from ntkflow.experiments.kernel import run_kernel
from ntkflow.experiments.outcome import Outcome, device
from ntkflow.experiments.regression import run_regression
from ntkflow.experiments.relaxation import run_relaxation
from ntkflow.experiments.residuals import run_residuals
from ntkflow.experiments.training import run_training
from ntkflow.progress import Progress, silent
from ntkflow.report import render_report, write_figures
from ntkflow.results import ResultFolder, Summary, provenance
from ntkflow.scenario import (
    ComparisonScenario,
    EndOfTrainingScenario,
    FlowScenario,
    KernelScenario,
    LoadedScenario,
    RegressionScenario,
    RelaxationScenario,
    ResidualsScenario,
    Scenario,
    TrainingScenario,
    resolved_yaml,
)

_NETWORK = "for a kernel scenario with network: {kind: checkpoint}"
_DOWNLOADS = (
    ("results.nc", "every array of this result, NetCDF: xarray.open_datatree(path, engine='h5netcdf')"),
    ("summary.json", "the numbers and tables of this page"),
    ("scenario.yaml", "the scenario with every default filled in"),
    ("manifest.json", "hashes of all files, versions, device, timings"),
)


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
    resumes = text if isinstance(loaded.scenario, TrainingScenario) else None
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
        case KernelScenario():
            return run_kernel(scenario, folder=folder, text=text, progress=progress)
        case TrainingScenario():
            return run_training(scenario, folder=folder, text=text, progress=progress, checkpoints=checkpoints)
    assert_never(scenario)


def _run(loaded: LoadedScenario, text: str, folder: ResultFolder, progress: Progress) -> Summary:
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    folder.write_text("scenario.yaml", text)
    outcome = experiment(
        loaded.scenario, folder=loaded.path.parent, text=text, progress=progress, checkpoints=folder.checkpoints
    )
    progress("writing", 0, 3)
    for name, data in outcome.files.items():
        folder.write_bytes(name, data)
    folder.write_tree("results.nc", outcome.tree)
    progress("writing", 1, 3)
    figures = write_figures(folder, outcome.drawings)
    progress("writing", 2, 3)
    record = provenance(
        seed=loaded.scenario.seed,
        device=device(),
        scenario_yaml=text,
        started=started,
        timings={**outcome.timings, "all": time.perf_counter() - clock},
    )
    folder.write_text(
        "report.html",
        render_report(
            summary=outcome.summary,
            figures=figures,
            scenario_yaml=text,
            provenance=record,
            downloads=(*_DOWNLOADS, *_networks(folder, outcome)),
        ),
    )
    folder.finish(outcome.summary, record)
    progress("writing", 3, 3)
    return outcome.summary


def _networks(folder: ResultFolder, outcome: Outcome) -> list[tuple[str, str]]:
    """The networks of a result, those after the last step first."""
    found = [(name, f"the network after the last step, {_NETWORK}") for name in outcome.files]
    snapshots = sorted(path.relative_to(folder.path).as_posix() for path in (folder.path / "snapshots").rglob("*.ckpt"))
    return found + [(name, f"the network of that epoch, {_NETWORK}") for name in snapshots]


def _is_about_memory(error: Exception) -> bool:
    # JAX says so in words only.
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)


def _joined(remedy: str | None, left: str) -> str:
    return left if remedy is None else f"{remedy}\n  {left}"
