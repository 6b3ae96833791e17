"""The catalogue of sources on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ntkflow.data.catalogue import sources


def catalogue_table() -> Group:
    """What each source holds and where it is, and below that how to get those that are not here."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("source", "size", "classes", "training", "a class", "test", "here"):
        grid.add_column(column, no_wrap=True)
    remedies = []
    for source in sources():
        here = source.here() or ("--path" if source.place == "needed" else "no")
        # Text, because rich would take square brackets for markup.
        cells = (source.key, source.images, source.classes, source.training, source.per_class, source.testing, here)
        grid.add_row(*map(Text, cells))
        if not source.here():
            remedies.append(Text.assemble((f"{source.key}: ", "bold"), source.how))
    return Group(grid, *remedies)
