"""Each shipped scenario, run once through the command line at its reduced size, for all workers of pytest-xdist."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
from experiments.command import SCENARIOS, Said, ntkflow, settings
from experiments.reduced import REDUCED

from ntkflow.results import Result, read_result


class Runs:
    """The results, made by the worker that first asks for one; the others wait for it and read its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trees: dict[str, xr.DataTree] = {}

    def said(self, name: str) -> Said:
        record = self._folder / f"{name}.json"
        with _alone(self._folder / f"{name}.lock"):
            if not record.exists():
                said = ntkflow("run", SCENARIOS / f"{name}.yaml", "-o", self._folder / name, *settings(*REDUCED[name]))
                record.write_text(json.dumps(dataclasses.asdict(said)))
        said = Said(**json.loads(record.read_text()))
        assert said.code == 0, said.err
        return said

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


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Runs:
    base = tmp_path_factory.getbasetemp()
    # A worker's own folder is inside the one of the whole run.
    folder = (base if worker_id == "master" else base.parent) / "shipped"
    folder.mkdir(exist_ok=True)
    return Runs(folder)
