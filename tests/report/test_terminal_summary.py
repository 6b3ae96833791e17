"""The terminal says what the page says."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from ntkflow.report import print_summary
from ntkflow.results import Column, Summary, Table, format_cell


def printed(summary: Summary, width: int = 100) -> str:
    stream = io.StringIO()
    print_summary(summary, Console(file=stream, width=width))
    return stream.getvalue()


def test_everything_is_said(summary: Summary) -> None:
    text = printed(summary)
    for words in (summary.title, *summary.statements, *summary.warnings):
        assert words in text
    for quantity in summary.quantities:
        assert f"  {quantity.definition}\n" in text
    assert "Rate of the class means  0.4124 ± 0.0061 1/t\n" in text
    assert "Forecast error  (3.21 ± 0.22) × 10⁻⁵\n" in text
    assert text.count("Warning: ") == 2


def test_definitions_are_numbered_footnotes(summary: Summary) -> None:
    text = printed(summary)
    head = next(line for line in text.splitlines() if line.lstrip().startswith("part"))
    assert head.split("part")[1].split()[0] == "¹"
    assert "[rate]²" in text
    below = text.index("  ¹ part: Which part of the <residual>.\n  ² predicted [rate]: Eigenvalue over Z.\n")
    assert text.index("The rest has no prediction.") < below < text.index("Steps")


def test_square_brackets_are_not_markup(summary: Summary) -> None:
    text = printed(summary)
    assert "It is [red]not[/red] markup." in text
    assert "[1/t]" in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(summary: Summary, width: int) -> None:
    assert max(map(len, printed(summary, width).splitlines())) <= width


def test_numbers_stand_on_the_right(summary: Summary) -> None:
    rows = [line.rstrip() for line in printed(summary).splitlines()]
    assert rows.index("    1") + 1 == rows.index(" 1000")


@pytest.mark.parametrize("width", [30, 50, 80])
def test_no_number_is_cut_however_narrow_the_terminal(width: int) -> None:
    columns = tuple(Column(f"a quantity of number {index}", "1/t", "Its value.") for index in range(9))
    rows = tuple((name, *(10.0 ** -(3 * index) * 1.234 for index in range(8))) for name in ("one", "two", "three"))
    text = printed(Summary("A", "b", tables=(Table("Wide", (Column("name", "", "Row."), *columns[1:]), rows),)), width)
    assert "…" not in text
    said = [cell for line in text.splitlines() if line.startswith("three ") for cell in re.split(r" {2,}", line)[1:]]
    assert [cell.strip() for cell in said] == [format_cell(cell) for cell in rows[2][1:]]
