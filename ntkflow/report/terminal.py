"""The summary on the terminal: the same words and numbers as the report's first screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ntkflow.results.format import format_cell, format_quantity, format_unit, is_number
from ntkflow.results.summary import Column, Quantity, Summary, Table

_LONGEST_NAME = 24  # Cells of text that are longer are broken into lines.
_GAP = 3  # Blanks that rich puts between two columns.
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def print_summary(summary: Summary, console: Console) -> None:
    """Prints statements, warnings, quantities with their definitions, and tables with theirs as numbered footnotes.

    Texts are printed as they are: square brackets in a unit or a scenario's name are not markup.
    """
    console.print(Text(summary.title, style="bold"))
    for statement in summary.statements:
        console.print(Text(statement))
    for warning in summary.warnings:
        console.print()
        console.print(Text.assemble(("Warning: ", "bold yellow"), warning))
    for quantity in summary.quantities:
        console.print()
        _print_quantity(quantity, console)
    for table in summary.tables:
        console.print()
        _print_table(table, console)


def _print_quantity(quantity: Quantity, console: Console) -> None:
    unit = format_unit(quantity.unit)
    console.print(Text.assemble(quantity.name, "  ", (format_quantity(quantity), "bold"), f" {unit}" if unit else ""))
    _print_below(quantity.definition, console)


def _print_table(table: Table, console: Console) -> None:
    console.print(Text(table.title, style="bold"))
    for place, indices in enumerate(_groups([_width(table, k) for k in range(len(table.columns))], console.width)):
        if place:
            console.print()
        console.print(_grid(table, indices))
    if table.note:
        _print_below(table.note, console)
    # Columns that mean the same thing of different parts share a footnote.
    for definition in dict.fromkeys(column.definition for column in table.columns):
        columns = [column for column in table.columns if column.definition == definition]
        names = ", ".join(column.name.strip() for column in columns)
        _print_below(f"{_mark(table, columns[0])} {names}: {definition}", console)


def _grid(table: Table, indices: Sequence[int]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
    for index in indices:
        numbers = any(is_number(row[index]) for row in table.rows)
        grid.add_column(
            _head(table, index),
            justify="right" if numbers else "left",
            vertical="bottom",
            width=_width(table, index),
        )
    for row in table.rows:
        grid.add_row(*(Text(format_cell(row[index])) for index in indices))
    return grid


def _width(table: Table, index: int) -> int:
    """The width that a column needs so that no number and no short name is broken."""
    cells = [format_cell(row[index]) for row in table.rows]
    words = [word for text in (_head(table, index).plain, *cells) for word in text.split()]
    lengths = [
        len(cell) if is_number(row[index]) else min(len(cell), _LONGEST_NAME)
        for cell, row in zip(cells, table.rows, strict=True)
    ]
    return max(*map(len, words), *lengths, 1)


def _groups(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns shared out over as many grids as the terminal needs, each of which begins with the first column."""
    groups: list[list[int]] = []
    taken = room + 1
    for index in range(1, len(widths)):
        if taken + _GAP + widths[index] > room:
            groups.append([0])
            taken = widths[0]
        groups[-1].append(index)
        taken += _GAP + widths[index]
    return groups or [[0]]


def _head(table: Table, index: int) -> Text:
    column = table.columns[index]
    unit = format_unit(column.unit)
    return Text.assemble((column.name, "bold"), _mark(table, column), (f"\n{unit}", "dim") if unit else "")


def _print_below(text: str, console: Console) -> None:
    # Not rich's Padding, which fills every line up with blanks.
    for part in Text(text, style="dim").wrap(console, max(console.width - 2, 10)):
        part.rstrip()
        console.print(Text("  ").append_text(part))


def _mark(table: Table, column: Column) -> str:
    definitions = list(dict.fromkeys(column.definition for column in table.columns))
    return str(definitions.index(column.definition) + 1).translate(_SUPERSCRIPTS)
