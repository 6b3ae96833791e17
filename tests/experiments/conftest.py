"""Each shipped scenario, run once through the command line at its reduced size."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr
from experiments.command import SCENARIOS, Said, ntkflow, settings
from experiments.reduced import REDUCED

from ntkflow.results import Result, read_result


class Runs:
    """The results, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said: dict[str, Said] = {}
        self._trees: dict[str, xr.DataTree] = {}

    def said(self, name: str) -> Said:
        if name not in self._said:
            self._said[name] = ntkflow(
                "run", SCENARIOS / f"{name}.yaml", "-o", self._folder / name, *settings(*REDUCED[name])
            )
            assert self._said[name].code == 0, self._said[name].err
        return self._said[name]

    def folder(self, name: str) -> Path:
        self.said(name)
        return self._folder / name

    def result(self, name: str) -> Result:
        return read_result(self.folder(name))

    def tree(self, name: str) -> xr.DataTree:
        if name not in self._trees:
            with self.result(name).tree() as tree:
                self._trees[name] = tree.load()
        return self._trees[name]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("results"))
