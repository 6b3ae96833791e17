"""A result is read as it was written, or the reader says what is wrong with which file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ntkflow.errors import ResultFolderError
from ntkflow.results import ResultFolder, Summary, read_result

Run = Callable[..., ResultFolder]


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_written_is_read(tmp_path: Path, run: Run, summary: Summary) -> None:
    run(tmp_path / "out")
    result = read_result(tmp_path / "out")
    assert result.path == tmp_path / "out"
    assert result.summary.to_json() == summary.to_json()
    assert result.provenance == {"seed": 1, "word": "first"}
    assert str(result).startswith("A run (flow)\n")
    assert "The rate is as predicted." in str(result)


def test_the_tree_is_read_on_demand(tmp_path: Path, summary: Summary) -> None:
    tree = xr.DataTree.from_dict(
        {"/flow": xr.Dataset({"loss": ("time", np.linspace(1, 0, 5), {"units": "1", "long_name": "loss"})})}
    )
    folder = ResultFolder.create(tmp_path / "out", overwrite=False)
    folder.write_tree("results.nc", tree)
    folder.finish(summary, {})
    with read_result(tmp_path / "out").tree() as read:
        assert read.identical(tree)


def test_a_result_without_a_tree(tmp_path: Path, run: Run) -> None:
    result = read_result(run(tmp_path / "out").path)
    with pytest.raises(ResultFolderError, match=r"holds no results\.nc"):
        result.tree()


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ResultFolderError, match="nowhere: there is no such folder"):
        read_result(tmp_path / "nowhere")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultFolderError, match="file: is a file, not a result folder"):
        read_result(tmp_path / "file")


def test_an_unfinished_result(tmp_path: Path) -> None:
    ResultFolder.create(tmp_path / "out", overwrite=False).abandon()
    with pytest.raises(ResultFolderError, match=r"no manifest\.json in it: the result is unfinished"):
        read_result(tmp_path / "out")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000])
def test_a_damaged_manifest(tmp_path: Path, run: Run, text: str) -> None:
    (run(tmp_path / "out").path / "manifest.json").write_text(text)
    with pytest.raises(ResultFolderError, match="the manifest is damaged: it is not a JSON object"):
        read_result(tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [
        {"files": None},
        {"files": {"scenario.yaml": 1}},
        {"files": {"scenario.yaml": {"sha256": "", "size": "1"}}},
        {"files": {"../elsewhere": {"sha256": "", "size": 1}}},
        {"files": {"/etc/hostname": {"sha256": "", "size": 1}}},
        {"provenance": None},
        {"created": None},
        {"format_version": 0},
        {"format_version": "1"},
    ],
)
def test_a_manifest_with_wrong_entries(tmp_path: Path, run: Run, changes: dict[str, Any]) -> None:
    change_manifest(run(tmp_path / "out").path, **changes)
    with pytest.raises(ResultFolderError, match=r"manifest\.json: the manifest is damaged: entries are missing"):
        read_result(tmp_path / "out")


def test_a_manifest_of_another_format(tmp_path: Path, run: Run) -> None:
    change_manifest(run(tmp_path / "out").path, format="other")
    with pytest.raises(ResultFolderError, match="not the manifest of an ntkflow result: its format is 'other'"):
        read_result(tmp_path / "out")


def test_a_newer_version(tmp_path: Path, run: Run) -> None:
    change_manifest(run(tmp_path / "out").path, format_version=2)
    with pytest.raises(ResultFolderError, match="written by a newer ntkflow: format version 2") as refusal:
        read_result(tmp_path / "out")
    assert "Update ntkflow" in str(refusal.value)


def test_a_missing_file(tmp_path: Path, run: Run) -> None:
    (run(tmp_path / "out").path / "figures" / "loss.png").unlink()
    with pytest.raises(ResultFolderError, match=r"figures/loss\.png: the manifest lists this file, but it is missing"):
        read_result(tmp_path / "out")


@pytest.mark.parametrize("name", ["figures/loss.png", "scenario.yaml", "summary.json"])
def test_one_damaged_byte(tmp_path: Path, run: Run, name: str) -> None:
    path = run(tmp_path / "out").path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ResultFolderError, match="its SHA-256 differs from the manifest's") as refusal:
        read_result(tmp_path / "out")
    assert str(refusal.value).startswith(str(path))


def test_trailing_bytes(tmp_path: Path, run: Run) -> None:
    with (run(tmp_path / "out").path / "scenario.yaml").open("ab") as stream:
        stream.write(b"#")
    with pytest.raises(ResultFolderError, match=r"scenario\.yaml: .* it has 13 bytes instead of 12"):
        read_result(tmp_path / "out")


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"title": 1}', '"text"'])
def test_a_summary_of_another_shape(tmp_path: Path, run: Run, text: str) -> None:
    folder = run(tmp_path / "out").path
    (folder / "summary.json").write_text(text)
    entry = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "size": len(text)}
    change_manifest(folder, files={"summary.json": entry})
    with pytest.raises(ResultFolderError, match=r"summary\.json: not a summary that this ntkflow can read"):
        read_result(folder)


def test_a_manifest_without_a_summary(tmp_path: Path, run: Run) -> None:
    change_manifest(run(tmp_path / "out").path, files={})
    with pytest.raises(ResultFolderError, match=r"holds no summary\.json"):
        read_result(tmp_path / "out")
