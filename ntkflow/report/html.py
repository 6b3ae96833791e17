"""The report: one page that loads nothing, and says what every number in it means."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import jinja2
import markupsafe

from ntkflow.report.drawing import RenderedFigure
from ntkflow.report.encoding import data_uri, natural_width
from ntkflow.results.format import format_cell, format_number, format_quantity, format_unit, is_number
from ntkflow.results.summary import Cell, Summary

_LABELS = {
    "ntkflow": "ntkflow",
    "cpu_count": "Processor cores",
    "scenario_sha256": "SHA-256 of the scenario",
    "timings_seconds": "Timings in seconds",
}
_POWER = re.compile("10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "\N{MINUS SIGN}0123456789")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def render_report(
    *,
    summary: Summary,
    figures: Iterable[RenderedFigure],
    scenario_yaml: str,
    provenance: Mapping[str, Any],
    downloads: tuple[tuple[str, str], ...],
) -> str:
    """The text of ``report.html``.

    Args:
        summary: what was found; statements and warnings come first, each definition stands below its number.
        figures: drawn figures, which the page holds in both themes.
        scenario_yaml: the scenario as it was run.
        provenance: what :func:`ntkflow.results.provenance` returned.
        downloads: the raw files as pairs of a path relative to the page and what the file holds.

    Raises:
        ValueError: a download's path is not relative, or leaves the result folder.
    """
    figures = tuple(figures)
    return _template().render(
        summary=summary,
        figures=figures,
        scenario_yaml=scenario_yaml.rstrip("\n"),
        record=_record(provenance),
        seed=provenance.get("seed"),
        version=provenance.get("ntkflow"),
        started=str(provenance.get("started") or "")[:10],
        downloads=[(path, _link(path), what) for path, what in downloads],
        most_columns=max((len(table.columns) for table in summary.tables), default=0),
        any_error=any(quantity.standard_error is not None for quantity in summary.quantities),
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ntkflow.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        cell=format_cell,
        quantity=format_quantity,
        unit=format_unit,
        powers=_powers,
        data_uri=data_uri,
        natural_width=natural_width,
    )
    environment.globals.update(numeric_columns=_numeric_columns)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return environment.get_template("template.html.j2")


def _powers(number: str) -> markupsafe.Markup:
    """A formatted number with its power of ten in ``<sup>``: few serif fonts have all superscript characters."""
    escaped = str(markupsafe.escape(number))
    return markupsafe.Markup(_POWER.sub(lambda found: f"10<sup>{found[1].translate(_RAISED)}</sup>", escaped))


def _numeric_columns(rows: Sequence[Sequence[Cell]], count: int) -> list[bool]:
    """For each column, whether it holds numbers and nothing else but empty cells."""
    columns = [[row[index] for row in rows if row[index] is not None] for index in range(count)]
    return [bool(cells) and all(is_number(cell) for cell in cells) for cells in columns]


def _record(provenance: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Provenance as groups of labelled values: the plain ones first, then one group for each nested mapping."""
    plain = [(_label(key), _shown(value)) for key, value in provenance.items() if not isinstance(value, Mapping)]
    nested = [
        (_label(key), [(str(name), _shown(item)) for name, item in value.items()])
        for key, value in provenance.items()
        if isinstance(value, Mapping) and value
    ]
    return [("Run", plain), *nested]


def _label(key: str) -> str:
    text = key.replace("_", " ")
    return _LABELS.get(key, text[:1].upper() + text[1:])


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return format_number(value) if value is None or isinstance(value, float) else str(value)


def _link(path: str) -> str:
    if _SCHEME.match(path) or path.startswith(("/", "\\")) or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} is not a path inside the result folder")
    return urllib.parse.quote(path)
