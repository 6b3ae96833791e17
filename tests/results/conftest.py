"""A small summary, and a run that writes a small result."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from ntkflow.results import Column, Quantity, ResultFolder, Summary, Table


@pytest.fixture
def summary() -> Summary:
    return Summary(
        title="A run",
        kind="flow",
        statements=("The rate is as predicted.",),
        quantities=(
            Quantity("rate", 0.25, "1/t", "Slope of the logarithm of the norm.", 0.01),
            Quantity("nothing", math.nan, "1", "Not a number."),
        ),
        tables=(
            Table("Rates", (Column("part", "", "Which part."), Column("rate", "1/t", "Its rate.")), (("all", 1.5),)),
        ),
        warnings=("The step is large.",),
    )


@pytest.fixture
def run(summary: Summary) -> Callable[..., ResultFolder]:
    """Writes a whole result whose files say ``word``."""

    def run(path: Path, word: str = "first", *, overwrite: bool = False) -> ResultFolder:
        folder = ResultFolder.create(path, overwrite=overwrite)
        folder.write_text("scenario.yaml", f"name: {word}\n")
        folder.write_bytes("figures/loss.png", word.encode() * 1000)
        folder.finish(summary, {"seed": 1, "word": word})
        return folder

    return run
