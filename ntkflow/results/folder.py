"""A result folder while a run writes it: complete when ``finish`` returns, recognisably incomplete before."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr

from ntkflow.errors import ResultFolderError
from ntkflow.results import atomic, manifest, marker, netcdf, resume, swap
from ntkflow.results.failure import reason, shown, told
from ntkflow.results.standing import Standing, refuse, standing
from ntkflow.results.summary import Summary

SUMMARY = "summary.json"


class ResultFolder:
    """Where a run writes its result. Made by :meth:`create`, ended by :meth:`finish` or :meth:`abandon`.

    A new result grows in its final place, under a marker that :meth:`finish` takes away. One that replaces a finished
    result grows in a sibling folder and takes its place in :meth:`finish`, so that the old one is whole until then.

    Attributes:
        target: the final place.
        resumed: whether a stopped run of the same scenario is gone on with, and its files are there.
    """

    def __init__(self, target: Path, path: Path, mark: marker.Marker, *, resumed: bool = False) -> None:
        """Not for callers: :meth:`create` looks at the place first."""
        self.target = target
        self.resumed = resumed
        self._path = path
        self._marker = mark
        self._open = True

    @staticmethod
    def create(path: str | os.PathLike[str], *, overwrite: bool, resumes: str | None = None) -> ResultFolder:
        """Makes the folder ready for writing, or says why it may not be.

        What is at ``path`` is touched only if it is a result of ntkflow, finished or not, and ``overwrite`` is true,
        or if it is what a stopped run of the same scenario left, and this run can go on from there.

        Args:
            path: the final place.
            overwrite: whether what is there may be replaced.
            resumes: the resolved scenario of a run that leaves checkpoints in :attr:`checkpoints`.
        """
        target = Path(path).resolve()
        with told("the result folder cannot be made", target):
            swap.restore(target)
            found = standing(target)
            if resumes is not None:
                stopped = resume.stopped_run(target, found, resumes, overwrite=overwrite)
                if stopped is not None:
                    mark = _adopted(stopped)
                    resume.tidy(stopped)
                    return ResultFolder(target, stopped, mark, resumed=True)
            refuse(target, found, overwrite=overwrite)
            if overwrite:
                swap.sweep(target)
            if found is Standing.UNFINISHED:
                marker.clear(target)
            place = swap.stage(target) if found is Standing.FINISHED else target
            place.mkdir(parents=True, exist_ok=True)
            mark = marker.Marker(place)
            atomic.sync_folder(place.parent)
        return ResultFolder(target, place, mark)

    @property
    def checkpoints(self) -> Path:
        """Where a run keeps what it can be resumed from."""
        return self._path / resume.CHECKPOINTS

    @property
    def path(self) -> Path:
        """Where files are being written now; after :meth:`finish`, :attr:`target`."""
        return self._path

    def write_bytes(self, name: str, data: bytes | memoryview) -> None:
        """Writes one file, whole or not at all. ``name`` may lie in a subfolder: ``figures/loss.svg``."""
        if not self._open:
            raise RuntimeError(f"{name}: the result in {shown(self.target)} is closed")
        relative = PurePosixPath(name)
        if (
            not relative.parts
            or relative.is_absolute()
            or ".." in relative.parts
            or name in (manifest.NAME, marker.NAME)
        ):
            raise ValueError(f"{name!r} is not a name that a result's file may have")
        with told("the file could not be written", self._path / relative):
            (self._path / relative).parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(self._path / relative, data)

    def write_text(self, name: str, text: str) -> None:
        """Writes one file of UTF-8 text."""
        self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Writes one JSON file. Numbers that are not finite are a ``ValueError``, for JSON has none."""
        self.write_text(name, _json(value))

    def write_tree(self, name: str, tree: xr.DataTree) -> None:
        """Writes one NetCDF4 file; every data variable needs ``units`` and ``long_name``, or it is a ``ValueError``."""
        self.write_bytes(name, netcdf.encode(tree))

    def finish(self, summary: Summary, provenance: Mapping[str, Any]) -> None:
        """Writes ``summary.json``, then the manifest, and puts the result in its final place."""
        self.write_json(SUMMARY, summary.to_json())
        with told("the manifest could not be written", self._path / manifest.NAME):
            atomic.write_text(self._path / manifest.NAME, _json(manifest.compose(self._path, provenance)))
        if self._path != self.target:
            with self._kept_if_not_swapped():
                swap.replace(self.target, self._path)
            self._path = self.target
        with told("the result is complete, but its marker could not be removed", self._path / marker.NAME):
            self._marker.remove(self._path)
        self._open = False

    def abandon(self) -> str:
        """Ends the writing without a complete result and says what was left where. Never raises, may be repeated."""
        self._open = False
        self._marker.release()
        if (self.target / manifest.NAME).is_file() and not self._path.is_dir():
            return f"The result in {shown(self.target)} is complete."
        if (self._path / manifest.NAME).is_file():
            with contextlib.suppress(OSError):
                marker.take_away(self._path)
            if self._path == self.target:
                return f"The result in {shown(self.target)} is complete."
            return (
                f"The new result is complete in {shown(self._path)}, but did not take the place of the earlier one in "
                f"{shown(self.target)}."
            )
        saved = self.checkpoints.is_dir() and any(self.checkpoints.iterdir())
        if self._path == self.target:
            left = f"What the run had written is in {shown(self.target)}, which was left without a manifest."
            return f"{left} The same command without --overwrite goes on from its last checkpoint." if saved else left
        return (
            f"The earlier result in {shown(self.target)} is untouched. "
            f"What the run had written is in {shown(self._path)}, which was left without a manifest; "
            + (
                "the same command goes on from its last checkpoint."
                if saved
                else "the next run with --overwrite removes it."
            )
        )

    @contextlib.contextmanager
    def _kept_if_not_swapped(self) -> Iterator[None]:
        """A new result that could not take the old one's place is complete: say so; no later run may sweep it away."""
        try:
            yield
        except (OSError, ResultFolderError) as error:
            with contextlib.suppress(OSError):
                self._marker.remove(self._path)
            self._open = False
            why = reason(error) if isinstance(error, OSError) else error.what
            raise ResultFolderError(
                f"the new result could not take the place of the earlier one: {why}",
                place=shown(self.target),
                remedy=f"The new one is complete in {shown(self._path)}; rename it yourself.",
            ) from error


def _adopted(folder: Path) -> marker.Marker:
    try:
        return marker.Marker(folder, adopt=True)
    except BlockingIOError:
        # Another process took it up between our look and our hand.
        raise ResultFolderError(
            "another run is writing its result here now",
            place=shown(folder),
            remedy="Wait until it has finished, or choose another result folder.",
        ) from None


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a JSON file")
