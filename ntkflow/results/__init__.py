"""What a run leaves behind: a folder that is complete or says that it is not, and can be checked byte by byte."""

from ntkflow.results.folder import ResultFolder
from ntkflow.results.format import format_cell, format_number, format_quantity, format_unit, format_with_error
from ntkflow.results.provenance import provenance
from ntkflow.results.read import Result, read_result
from ntkflow.results.summary import Cell, Column, Quantity, Summary, Table

__all__ = [
    "Cell",
    "Column",
    "Quantity",
    "Result",
    "ResultFolder",
    "Summary",
    "Table",
    "format_cell",
    "format_number",
    "format_quantity",
    "format_unit",
    "format_with_error",
    "provenance",
    "read_result",
]
