"""The headline of a result: numbers with their definitions, tables whose columns are defined, and warnings.

A summary is what the terminal shows, what ``summary.json`` stores, and what the report's first screen says. A number
without a definition cannot be put into one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

Cell = str | float | int | None


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One number with its unit, its definition and, where there is one, its standard error."""

    name: str
    value: float
    unit: str
    definition: str
    standard_error: float | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """The head of a table's column."""

    name: str
    unit: str
    definition: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells under defined columns; ``None`` is a cell for which there is no value."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: a row of {len(row)} cells under {len(self.columns)} columns")


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run found, in the order in which a reader wants it."""

    title: str
    kind: str
    statements: tuple[str, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    tables: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; numbers that are not finite become strings (JSON has none)."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Summary:
        """The inverse of :meth:`to_json`. Raises ``KeyError`` or ``TypeError`` on anything else."""
        return cls(
            title=stored["title"],
            kind=stored["kind"],
            statements=tuple(stored["statements"]),
            quantities=tuple(
                Quantity(**{**item, "value": _number(item["value"]), "standard_error": _number(item["standard_error"])})
                for item in stored["quantities"]
            ),
            tables=tuple(
                Table(
                    title=item["title"],
                    columns=tuple(Column(**column) for column in item["columns"]),
                    rows=tuple(tuple(_number(cell) for cell in row) for row in item["rows"]),
                    note=item["note"],
                )
                for item in stored["tables"]
            ),
            warnings=tuple(stored["warnings"]),
        )


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _number(value: Any) -> Any:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
