"""Opens a result, having made sure that it is the one that a run wrote."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import xarray as xr

from ntkflow.errors import ResultFolderError
from ntkflow.results import manifest, netcdf
from ntkflow.results.failure import shown, told
from ntkflow.results.folder import SUMMARY
from ntkflow.results.summary import Summary
from ntkflow.results.swap import moved_aside

TREE = "results.nc"


@dataclasses.dataclass(frozen=True)
class Result:
    """A complete result, every file of which was compared with the manifest when it was read."""

    path: Path
    manifest: dict[str, Any] = dataclasses.field(repr=False)
    summary: Summary = dataclasses.field(repr=False)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the run recorded of its program, machine and scenario."""
        return self.manifest["provenance"]

    def tree(self) -> xr.DataTree:
        """The numbers: opens ``results.nc``, whose arrays are read when they are used; a ``with`` closes the file."""
        if TREE not in self.manifest["files"]:
            raise ResultFolderError(f"this result holds no {TREE}", place=shown(self.path))
        return netcdf.open_tree(self.path / TREE)

    def __str__(self) -> str:
        files = self.manifest["files"]
        size = sum(entry["size"] for entry in files.values())
        head = (
            f"{self.summary.title} ({self.summary.kind})\n{shown(self.path)}: {len(files)} files, {size / 1e6:.3g} MB"
        )
        return "\n".join((f"{head}, written {self.manifest['created']}", *self.summary.statements))


def read_result(path: str | os.PathLike[str]) -> Result:
    """Reads the manifest and the summary of the result in ``path`` and verifies the hash of every file.

    Raises:
        ResultFolderError: there is no such folder, the result is not complete, the manifest is damaged or of a newer
            version, or a file is missing or differs from what the run wrote.
    """
    folder = Path(path).resolve()
    _require_complete(folder)
    stored = manifest.load(folder)
    manifest.verify(folder, stored)
    return Result(folder, stored, _summary(folder, stored))


def _require_complete(folder: Path) -> None:
    place = shown(folder)
    if not os.path.lexists(folder):
        aside = moved_aside(folder)
        if aside is not None:
            remedy = (
                f"A run was stopped while it replaced this result; the earlier one is in {shown(aside)}: rename it."
            )
        else:
            remedy = "Give the folder that a run wrote."
        raise ResultFolderError("there is no such folder", place=place, remedy=remedy)
    if not folder.is_dir():
        raise ResultFolderError(
            "is a file, not a result folder", place=place, remedy="Give the folder that a run wrote."
        )
    if not (folder / manifest.NAME).is_file():
        raise ResultFolderError(
            f"no {manifest.NAME} in it: the result is unfinished, or this is not a result folder",
            place=place,
            remedy="Run the scenario again; --overwrite starts again in the place of an unfinished result.",
        )


def _summary(folder: Path, stored: dict[str, Any]) -> Summary:
    place = folder / SUMMARY
    if SUMMARY not in stored["files"]:
        raise ResultFolderError(f"this result holds no {SUMMARY}", place=shown(folder))
    try:
        with told("it could not be read", place):
            return Summary.from_json(json.loads(place.read_bytes()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultFolderError(
            f"not a summary that this ntkflow can read ({type(error).__name__}: {error})",
            place=shown(place),
            remedy="Read it with the version of ntkflow that wrote it; the manifest names that version.",
        ) from error
