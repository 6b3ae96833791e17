"""The summary on the terminal: the same words and numbers as the report's first screen."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ntkflow.results.format import format_cell, format_quantity, format_unit, is_number
from ntkflow.results.summary import Column, Quantity, Summary, Table

_SHORT = 20
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
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
    for index, column in enumerate(table.columns):
        numbers = any(is_number(row[index]) for row in table.rows)
        # The first column names the rows: it keeps its lines whole, as long as there is room for the others.
        whole = index == 0 and all(len(format_cell(row[0])) <= _SHORT for row in table.rows)
        grid.add_column(_head(index, column), justify="right" if numbers else "left", vertical="bottom", no_wrap=whole)
    for row in table.rows:
        grid.add_row(*(Text(format_cell(cell)) for cell in row))
    console.print(grid)
    if table.note:
        _print_below(table.note, console)
    for index, column in enumerate(table.columns):
        _print_below(f"{_mark(index)} {column.name}: {column.definition}", console)


def _head(index: int, column: Column) -> Text:
    unit = format_unit(column.unit)
    return Text.assemble((column.name, "bold"), _mark(index), (f"\n{unit}", "dim") if unit else "")


def _print_below(text: str, console: Console) -> None:
    # Not rich's Padding, which fills every line up with blanks.
    for part in Text(text, style="dim").wrap(console, max(console.width - 2, 20)):
        part.rstrip()
        console.print(Text("  ").append_text(part))


def _mark(index: int) -> str:
    return str(index + 1).translate(_SUPERSCRIPTS)
