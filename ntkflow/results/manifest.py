"""``manifest.json``: the hashes of a result's files, written last; where it is, the result is complete."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ntkflow.errors import ResultFolderError
from ntkflow.results import marker
from ntkflow.results.failure import shown, told

NAME = "manifest.json"
FORMAT = "ntkflow-result"
VERSION = 1

_AGAIN = "Copy the folder again from where it is whole, or run the scenario again."


def compose(folder: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the files that ``folder`` holds now."""
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "files": {
            name: {"sha256": sha256(folder / name), "size": (folder / name).stat().st_size} for name in files(folder)
        },
        "provenance": dict(provenance),
    }


def files(folder: Path) -> list[str]:
    """Every file below ``folder`` by its relative name with forward slashes, without the manifest and the marker."""
    found = (Path(place, name).relative_to(folder).as_posix() for place, _, names in os.walk(folder) for name in names)
    return sorted(name for name in found if name not in (NAME, marker.NAME))


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_ours(folder: Path) -> bool:
    """Whether ``folder`` holds a manifest of this format, of whatever version."""
    stored = _stored(folder)
    return isinstance(stored, dict) and stored.get("format") == FORMAT


def listed(folder: Path) -> set[str]:
    """The names that the manifest of ``folder`` lists; none if it cannot be read."""
    stored = _stored(folder)
    names = stored.get("files") if isinstance(stored, dict) else None
    return set(names) if isinstance(names, dict) else set()


def load(folder: Path) -> dict[str, Any]:
    """The manifest of ``folder``, of a version that this program reads and of the right shape, or a refusal."""
    place = shown(folder / NAME)
    stored = _stored(folder)
    if not isinstance(stored, dict):
        raise ResultFolderError("the manifest is damaged: it is not a JSON object", place=place, remedy=_AGAIN)
    if stored.get("format") != FORMAT:
        raise ResultFolderError(
            f"not the manifest of an ntkflow result: its format is {stored.get('format')!r}, not {FORMAT!r}",
            place=place,
            remedy="Give the folder that a run of ntkflow wrote.",
        )
    version = stored.get("format_version")
    if isinstance(version, int) and version > VERSION:
        raise ResultFolderError(
            f"written by a newer ntkflow: format version {version}, and this one reads up to {VERSION}",
            place=place,
            remedy="Update ntkflow.",
        )
    if version != VERSION or not _well_formed(stored):
        raise ResultFolderError(
            "the manifest is damaged: entries are missing or of the wrong kind", place=place, remedy=_AGAIN
        )
    return stored


def verify(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Compares every file that ``manifest`` lists with its size and its hash; the first that differs is named."""
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise ResultFolderError("the manifest lists this file, but it is missing", place=shown(path), remedy=_AGAIN)
        with told("it could not be read", path):
            size, digest = path.stat().st_size, sha256(path)
        if size != entry["size"]:
            what = f"the file is not the one that the run wrote: it has {size} bytes instead of {entry['size']}"
            raise ResultFolderError(what, place=shown(path), remedy=_AGAIN)
        if digest != entry["sha256"]:
            what = "the file is not the one that the run wrote: its SHA-256 differs from the manifest's"
            raise ResultFolderError(what, place=shown(path), remedy=_AGAIN)


def _stored(folder: Path) -> Any:
    try:
        return json.loads((folder / NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _well_formed(stored: Mapping[str, Any]) -> bool:
    entries = stored.get("files")
    return (
        isinstance(entries, dict)
        and all(_inside(name) and _described(entry) for name, entry in entries.items())
        and isinstance(stored.get("created"), str)
        and isinstance(stored.get("provenance"), dict)
    )


def _described(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and isinstance(entry.get("size"), int)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
