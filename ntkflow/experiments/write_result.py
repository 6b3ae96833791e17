"""An outcome as a finished result folder: arrays, figures, report, provenance."""

from __future__ import annotations

import datetime
import time

from ntkflow.experiments.outcome import Outcome, device
from ntkflow.progress import Progress, silent
from ntkflow.report import render_report, write_figures
from ntkflow.results import ResultFolder, provenance

_NETWORK = "for a kernel scenario with network: {kind: checkpoint}"
_DOWNLOADS = (
    ("results.nc", "every array of this result, NetCDF: xarray.open_datatree(path, engine='h5netcdf')"),
    ("summary.json", "the numbers and tables of this page"),
    ("manifest.json", "hashes of all files, versions, device, timings"),
)


def write_outcome(
    folder: ResultFolder,
    outcome: Outcome,
    *,
    text: str,
    seed: int,
    started: datetime.datetime,
    clock: float,
    progress: Progress = silent,
) -> None:
    """Write everything but the scenario, and finish the folder.

    Args:
        folder: opened for this result; holds ``scenario.yaml`` already.
        outcome: what to write.
        text: the scenario.
        seed: of the scenario.
        started: when the run began.
        clock: ``time.perf_counter()`` then.
        progress: told from step to step.

    Raises:
        ResultFolderError: something cannot be written.
    """
    progress("writing", 0, 3)
    for name, data in outcome.files.items():
        folder.write_bytes(name, data)
    folder.write_tree("results.nc", outcome.tree)
    progress("writing", 1, 3)
    figures = write_figures(folder, outcome.drawings)
    progress("writing", 2, 3)
    record = provenance(
        seed=seed,
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
            downloads=(("scenario.yaml", outcome.scenario_is), *_DOWNLOADS, *_networks(folder, outcome)),
        ),
    )
    folder.finish(outcome.summary, record)
    progress("writing", 3, 3)


def _networks(folder: ResultFolder, outcome: Outcome) -> list[tuple[str, str]]:
    """The networks of a result, those after the last step first."""
    found = [(name, f"the network after the last step, {_NETWORK}") for name in outcome.files]
    snapshots = sorted(path.relative_to(folder.path).as_posix() for path in (folder.path / "snapshots").rglob("*.ckpt"))
    return found + [(name, f"the network of that epoch, {_NETWORK}") for name in snapshots]
