"""Several comparisons in one report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiments.command import ntkflow
from experiments.conftest import Runs

from ntkflow.results import read_result


@pytest.fixture(scope="module")
def two(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One comparison, and its copy under another name."""
    import shutil

    copy = tmp_path_factory.mktemp("two") / "copy"
    shutil.copytree(runs.folder("digits"), copy)
    return runs.folder("digits"), copy


def test_all_rows_of_both(two: tuple[Path, Path], tmp_path: Path) -> None:
    said = ntkflow("compare", *two, "-o", tmp_path / "both")
    assert said.code == 0, said.err
    found, single = read_result(tmp_path / "both"), read_result(two[0])
    assert found.summary.kind == "comparisons"
    assert len(found.summary.tables) == 1 + len(single.summary.tables)
    overview = found.summary.tables[0]
    assert [row[0] for row in overview.rows] == ["A", "B"]
    # The ways lead from the new folder to the old ones.
    assert [(tmp_path / "both" / str(row[3])).resolve() for row in overview.rows] == [path.resolve() for path in two]
    for joined, table in zip(found.summary.tables[1:], single.summary.tables, strict=True):
        assert joined.title == table.title
        assert joined.rows == tuple((letter, *row) for letter in "AB" for row in table.rows)
        # Alike in both: said once.
        assert [column.definition for column in joined.columns[1:]] == [column.definition for column in table.columns]
    with found.tree() as tree, single.tree() as old:
        for letter in "AB":
            for group in ("theory", "comparison"):
                ours, theirs = tree[letter][group].to_dataset(), old[group].to_dataset()
                assert ours.load().identical(theirs.load())
        assert np.isfinite(tree["A"]["comparison"]["rate_measured"].to_numpy()).any()
    page = (tmp_path / "both" / "report.html").read_text()
    assert "The ladders side by side" in page


def test_what_cannot_be_compared(two: tuple[Path, Path], runs: Runs, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out")
    assert "give 2 to 26" in ntkflow("compare", two[0], *out).refused()
    assert "is named twice" in ntkflow("compare", two[0], two[0], *out).refused()
    other = ntkflow("compare", two[0], runs.folder("kernel"), *out).refused()
    assert "kind kernel" in other
    assert "run_comparison" in other
    assert "manifest.json" in ntkflow("compare", two[0], tmp_path, *out).refused()
    assert not (tmp_path / "out").exists()
