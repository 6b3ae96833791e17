"""Several comparisons as one result: their tables under each other, their ladders and rates in one figure."""

from __future__ import annotations

import datetime
import os
import string
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from ntkflow.errors import ScenarioError
from ntkflow.experiments.outcome import Outcome, scenario_group
from ntkflow.experiments.write_result import write_outcome
from ntkflow.progress import Progress, silent
from ntkflow.report import several_drawings
from ntkflow.results import Column, Quantity, Result, ResultFolder, Summary, Table, read_result

_KINDS = ("comparison", "run_comparison")
_GROUPS = ("theory", "comparison", "ladder")


def compare_results(
    paths: Sequence[Path], output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> tuple[Path, Summary]:
    """Put comparisons beside each other, as a result of their own.

    Args:
        paths: at least two results of kind comparison or run_comparison.
        output: the folder to make.
        overwrite: whether an earlier result there may be replaced.
        progress: told from step to step.

    Returns:
        The folder and its headline.

    Raises:
        ScenarioError: fewer than two, too many, one twice, or of another kind.
        ResultFolderError: no complete result, or a folder that is in the way.
    """
    results = _read(paths)
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    folder = ResultFolder.create(output, overwrite=overwrite)
    try:
        text = _text(results, output)
        folder.write_text("scenario.yaml", text)
        tree = _tree(results, text)
        outcome = Outcome(
            tree=tree,
            summary=_summary(results, output),
            drawings=several_drawings(tree),
            timings={},
            scenario_is="which results these are",
        )
        write_outcome(folder, outcome, text=text, seed=0, started=started, clock=clock, progress=progress)
    except BaseException:
        folder.abandon()
        raise
    return folder.path, outcome.summary


def _read(paths: Sequence[Path]) -> dict[str, Result]:
    """The results by letter."""
    if not 2 <= len(paths) <= len(string.ascii_uppercase):
        raise ScenarioError(
            f"{len(paths)} results cannot be compared with each other: give 2 to {len(string.ascii_uppercase)}",
            remedy="For a single one, `ntkflow show RESULT`.",
        )
    found: dict[str, Result] = {}
    for letter, path in zip(string.ascii_uppercase, paths, strict=False):
        result = read_result(path)
        if result.summary.kind not in _KINDS:
            raise ScenarioError(
                f"is a result of kind {result.summary.kind}; what can be compared are kinds {' and '.join(_KINDS)}",
                place=str(path),
                remedy="For a training run, make forecasts first, with a scenario of kind run_comparison.",
            )
        if any(result.path == other.path for other in found.values()):
            raise ScenarioError("is named twice", place=str(path))
        found[letter] = result
    return found


def _text(results: Mapping[str, Result], output: Path) -> str:
    lines = [f"  {letter}: {_way(result, output)}" for letter, result in results.items()]
    return "\n".join(["# Made by `ntkflow compare`; there is no scenario.", "results:", *lines, ""])


def _way(result: Result, output: Path) -> str:
    """From the new result to an old one."""
    return Path(os.path.relpath(result.path, output.resolve())).as_posix()


def _tree(results: Mapping[str, Result], text: str) -> xr.DataTree:
    groups: dict[str, xr.Dataset] = {}
    for letter, result in results.items():
        with result.tree() as tree:
            for name in _GROUPS:
                if name in tree:
                    groups[f"/{letter}/{name}"] = tree[name].to_dataset().load()
            scenario = tree["scenario"].attrs
            groups[f"/{letter}"] = xr.Dataset(
                attrs={"name": result.summary.title, "loss_scale": str(scenario["loss_scale"])}
            )
    scales = "; ".join(f"{letter}: {groups[f'/{letter}'].attrs['loss_scale']}" for letter in results)
    groups["/scenario"] = scenario_group(
        kind="comparisons", name=f"{len(results)} comparisons", seed=0, loss_scale=scales, text=text
    )
    return xr.DataTree.from_dict(groups)


def _summary(results: Mapping[str, Result], output: Path) -> Summary:
    statements = [
        f"{letter}: {result.summary.title}. {' '.join(result.summary.statements)}" for letter, result in results.items()
    ]
    warnings = [f"{letter}: {text}" for letter, result in results.items() for text in result.summary.warnings]
    quantities = [
        Quantity(f"{letter}: {item.name}", item.value, item.unit, item.definition, item.standard_error)
        for letter, result in results.items()
        for item in result.summary.quantities
    ]
    return Summary(
        title=f"{len(results)} comparisons",
        kind="comparisons",
        statements=tuple(statements),
        quantities=tuple(quantities),
        tables=(_overview(results, output), *_joined(results)),
        warnings=tuple(warnings),
    )


def _overview(results: Mapping[str, Result], output: Path) -> Table:
    rows = tuple(
        (
            letter,
            result.summary.title,
            result.summary.kind,
            _way(result, output),
            float(result.provenance["timings_seconds"]["all"]),
        )
        for letter, result in results.items()
    )
    return Table(
        "What is compared",
        (
            Column("result", "", "How this page names it."),
            Column("title", "", "Its own title."),
            Column("kind", "", "comparison: trained for it. run_comparison: a training run that was there."),
            Column("folder", "", "Its folder, from this one: report.html, results.nc with every array, scenario.yaml."),
            Column("wall time", "s", "Of everything that made the result, compilation included."),
        ),
        rows,
    )


def _joined(results: Mapping[str, Result]) -> tuple[Table, ...]:
    """Tables that have the same title and columns in several results, under each other.

    Where definitions differ, as those that name Z do, each is given.
    """
    kinds: dict[tuple[str, tuple[str, ...]], dict[str, Table]] = {}
    for letter, result in results.items():
        for table in result.summary.tables:
            kinds.setdefault((table.title, tuple(column.name for column in table.columns)), {})[letter] = table
    return tuple(
        Table(
            title,
            (Column("result", "", "As in the first table."), *_columns(tables)),
            tuple((letter, *row) for letter, table in tables.items() for row in table.rows),
            " ".join(f"{letter}: {table.note}" for letter, table in tables.items() if table.note),
        )
        for (title, _), tables in kinds.items()
    )


def _columns(tables: Mapping[str, Table]) -> list[Column]:
    found: list[Column] = []
    for columns in zip(*(table.columns for table in tables.values()), strict=True):
        definitions = {column.definition for column in columns}
        text = (
            columns[0].definition
            if len(definitions) == 1
            else " ".join(f"{letter}: {column.definition}" for letter, column in zip(tables, columns, strict=True))
        )
        found.append(Column(columns[0].name, columns[0].unit, text))
    return found
