"""From a figure's name to its files: what is missing is run, then it is drawn."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import xarray as xr

from ntkflow.errors import ResultFolderError, ScenarioError
from ntkflow.experiments import run_scenario
from ntkflow.figures.catalogue import FIGURES
from ntkflow.figures.paper_figure import Setting, Stage
from ntkflow.progress import Progress, silent
from ntkflow.report import RenderedFigure, render
from ntkflow.results import Result, read_result
from ntkflow.results.atomic import write_bytes
from ntkflow.scenario import LoadedScenario, load_scenario, resolved_yaml


def made_figure(
    name: str,
    *,
    scenarios: Path,
    output: Path,
    setting: Setting = "laptop",
    overwrite: bool = False,
    progress: Progress = silent,
) -> tuple[RenderedFigure, tuple[Path, ...]]:
    """Run the scenarios of a figure that have no result in ``output`` yet, draw it, and write it there.

    Args:
        name: one of :data:`ntkflow.figures.FIGURES`.
        scenarios: the folder with the scenarios of the project.
        output: a folder; results of scenarios are folders in it, which figures that share a scenario share.
        setting: ``laptop``, or the source's own.
        overwrite: whether results of other settings there may be replaced.
        progress: told from stage to stage.

    Returns:
        The figure, and the files NAME.svg, NAME-dark.svg, NAME.png and NAME.txt, its caption.

    Raises:
        ScenarioError: no such figure, or the scenarios are not there.
        ResultFolderError: a result there is of another scenario, or files cannot be written.
        UserError: as from :func:`ntkflow.experiments.run_scenario`.
    """
    if name not in FIGURES:
        raise ScenarioError(f"there is no figure {name!r}", remedy=f"Known: {', '.join(sorted(FIGURES))}.")
    figure = FIGURES[name]
    stages = figure.stages(setting)
    folders: dict[str, Path] = {}
    with contextlib.ExitStack() as open_files:
        results: dict[str, xr.DataTree] = {}
        for index, stage in enumerate(stages):
            progress(f"stage {stage.name}", index, len(stages))
            result = _result(stage, folders, scenarios, output, overwrite, progress)
            folders[stage.name] = result.path
            results[stage.name] = open_files.enter_context(result.tree())
        rendered = render(figure.draw(results))
    files = {
        f"{name}.svg": rendered.svg_light.encode(),
        f"{name}-dark.svg": rendered.svg_dark.encode(),
        f"{name}.png": rendered.png,
        f"{name}.txt": f"{rendered.title} ({figure.source})\n\n{rendered.caption}\n\n{figure.shows}\n".encode(),
    }
    try:
        for file, data in files.items():
            write_bytes(output / file, data)
    except OSError as error:
        raise ResultFolderError(
            f"the figure cannot be written: {error.strerror or error}", place=str(output)
        ) from error
    return rendered, tuple(output / file for file in files)


def _result(
    stage: Stage, before: dict[str, Path], scenarios: Path, output: Path, overwrite: bool, progress: Progress
) -> Result:
    """The result of a stage: the one that is there, if it is of the same scenario, or a new one."""
    file = (scenarios / stage.scenario).resolve()
    if not file.exists():
        raise ScenarioError(
            f"the scenario {stage.scenario} is not in {scenarios}",
            remedy="Give the folder `scenarios` of the project, as --scenarios FOLDER.",
        )
    # As paths in a scenario are: from its own folder.
    ways = {name: Path(os.path.relpath(path, file.parent)) for name, path in before.items()}
    loaded = load_scenario(file, [_filled(text, ways) for text in stage.overrides])
    folder = output / stage.name
    if folder.exists() and (found := _of_same(folder, loaded)) is not None:
        return found
    run_scenario(loaded, folder, overwrite=overwrite, progress=progress)
    return read_result(folder)


def _of_same(folder: Path, loaded: LoadedScenario) -> Result | None:
    """A complete result of that very scenario; a run of it that was stopped goes on, others are refused by it."""
    try:
        found = read_result(folder)
    except ResultFolderError:
        return None
    kept = (folder / "scenario.yaml").read_text(encoding="utf-8")
    return found if kept == resolved_yaml(loaded.scenario) else None


def _filled(text: str, folders: dict[str, Path]) -> str:
    for name, path in folders.items():
        text = text.replace("{" + name + "}", path.as_posix())
    return text
