"""What a figure of a paper is made of: scenarios, and how it is drawn from their results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import xarray as xr

from ntkflow.report import Drawing

Setting = Literal["laptop", "paper"]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One scenario that a figure needs.

    Attributes:
        name: of the result's folder.
        scenario: the file, within the folder of scenarios.
        overrides: as for ``--set``; ``{NAME}`` stands for the result of an earlier stage.
    """

    name: str
    scenario: str
    overrides: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PaperFigure:
    """A figure or table of a source.

    Attributes:
        source: which one.
        shows: what it shows there.
        laptop: what is run at the setting of a laptop, in under ten minutes.
        paper: what is run at the source's own setting.
        draw: the figure, from the results of the stages of either setting by name.
    """

    source: str
    shows: str
    laptop: tuple[Stage, ...]
    paper: tuple[Stage, ...]
    draw: Callable[[Mapping[str, xr.DataTree]], Drawing]

    def stages(self, setting: Setting) -> tuple[Stage, ...]:
        """What is run."""
        return self.laptop if setting == "laptop" else self.paper
