"""Every scenario that is shipped validates, runs, and leaves a complete result."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from experiments.command import SCENARIOS, ntkflow
from experiments.conftest import Runs
from experiments.reduced import REDUCED

from ntkflow.scenario import load_scenario

NAMES = sorted(path.stem for path in SCENARIOS.glob("*.yaml"))

_COLLAPSE = {"/training", "/losses", "/collapse", "/invariant", "/cost", "/scenario"}
_WIDTHS = {"/networks", "/theory", "/fits", "/scenario"}
SAME = {"collapse_mnist5k": "collapse_digits", "width_mnist5k": "width"}
"""At its reduced size the one is the other."""
SLOW = {"ladder", "width_smooth", *SAME}
"""The ladder is `digits` with more models to compile; tests/comparison/test_rungs.py has them all. `width_smooth` has
another activation than `width`."""
RUN = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES]

GROUPS = {
    "collapse_digits": _COLLAPSE,
    "collapse_mnist5k": _COLLAPSE,
    "digits": {"/theory", "/training", "/comparison", "/ladder", "/scenario"},
    "ladder": {"/theory", "/training", "/comparison", "/ladder", "/scenario"},
    "block_flow": {"/theory", "/scenario"},
    "regression": {"/theory", "/descent", "/scenario"},
    "infinite_width": {"/theory", "/descent", "/scenario"},
    "cntk_digits": {"/theory", "/depths", "/scenario"},
    "width": _WIDTHS,
    "width_mnist5k": _WIDTHS,
    "width_smooth": _WIDTHS,
    "mean_field": {"/plane", "/profiles", "/kernels", "/limits", "/scenario"},
    "kernel_change": {"/plane", "/theory", "/scenario"},
    "dispersion": {"/theory", "/networks", "/scenario"},
    "kernel": {"/training", "/logits", "/features", "/scenario"},
    "hyperbola": {"/theory", "/scenario"},
    "imbalance": {"/theory", "/scenario"},
    "noise": {"/theory", "/scenario"},
    "weight_decay": {"/theory", "/scenario"},
    "phase_diagram": {"/theory", "/combinations", "/scenario"},
    "kernel_ratio": {"/theory", "/combinations", "/scenario"},
    "residual_eigenspaces": {"/theory", "/scenario"},
}
STAGES = {
    "collapse_digits": ["measuring", "training", "writing"],
    "collapse_mnist5k": ["measuring", "training", "writing"],
    "digits": ["training", "measuring kernels", "forecasting", "writing"],
    "ladder": ["training", "measuring kernels", "forecasting", "writing"],
    "block_flow": ["integrating", "writing"],
    "regression": ["kernel", "closed forms", "writing"],
    "infinite_width": ["kernel", "closed forms", "writing"],
    "cntk_digits": ["kernel", "closed forms", "writing"],
    "mean_field": ["phases", "profiles", "writing"],
    "dispersion": ["formulas", "networks", "writing"],
    "width": ["infinite width", "networks", "writing"],
    "width_mnist5k": ["infinite width", "networks", "writing"],
    "width_smooth": ["infinite width", "networks", "writing"],
    "kernel_change": ["training", "writing"],
    "kernel": ["training", "measuring kernels", "writing"],
    "hyperbola": ["integrating", "writing"],
    "imbalance": ["integrating", "writing"],
    "noise": ["integrating", "writing"],
    "weight_decay": ["integrating", "writing"],
    "phase_diagram": ["integrating", "writing"],
    "kernel_ratio": ["integrating", "writing"],
    "residual_eigenspaces": ["closed forms", "writing"],
}
_LEFT = {"network-000.ckpt", "network-001.ckpt", "checkpoints/epoch-000003.ckpt"}
_KEPT = {f"snapshots/member-{member:03d}/snapshot-{epoch:06d}.ckpt" for member in (0, 1) for epoch in (0, 1)}
OTHER_FILES = {"kernel": {"network.ckpt"}, "collapse_digits": _LEFT | _KEPT, "collapse_mnist5k": _LEFT}
"""What a folder holds beside the files that all have."""
_RECORDED = {"s", "steps", "samples", "nats"}
OTHER_UNITS = {"kernel": {"s", "byte"}, "collapse_digits": _RECORDED, "collapse_mnist5k": _RECORDED}
"""Units that are no gradient-flow time: of what was spent, counted, or read off probabilities."""


def test_all_of_them_are_here() -> None:
    assert set(NAMES) == set(REDUCED) == set(GROUPS) == set(STAGES)


@pytest.mark.parametrize("name", NAMES)
def test_it_validates_as_shipped(name: str) -> None:
    said = ntkflow("validate", SCENARIOS / f"{name}.yaml")
    assert said.code == 0
    assert said.out.startswith(f"{SCENARIOS / name}.yaml: fine (")


@pytest.mark.parametrize("name", NAMES)
def test_its_first_line_says_what_it_shows_and_how_long_it_takes(name: str) -> None:
    first = (SCENARIOS / f"{name}.yaml").read_text().splitlines()[0]
    assert re.fullmatch(r"# .{20,}\(.*(second|minute).*\)\.", first)


@pytest.mark.parametrize("name", RUN)
def test_the_terminal(name: str, runs: Runs) -> None:
    said = runs.said(name)
    assert said.out.rstrip().splitlines()[-1] == f"Report: {runs.folder(name) / 'report.html'}"
    stages = [line.split(":")[0].split(" …")[0] for line in said.err.splitlines()]
    assert list(dict.fromkeys(stages)) == STAGES[name]
    for stage in STAGES[name]:
        assert re.search(rf"^{stage}: done in \d+\.\d s$", said.err, re.MULTILINE)
    assert runs.result(name).summary.title in said.out


@pytest.mark.parametrize("name", RUN)
def test_the_folder_is_complete(name: str, runs: Runs) -> None:
    folder = runs.folder(name)
    # Hashes and sizes are verified by reading it.
    listed = set(runs.result(name).manifest["files"])
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert present == listed | {"manifest.json"}
    figures = {file for file in listed if file.startswith("figures/")}
    others = {"results.nc", "summary.json", "scenario.yaml", "report.html"} | OTHER_FILES.get(name, set())
    assert listed - figures == others
    drawings = {Path(file).stem for file in figures if file.endswith(".png")}
    assert drawings
    assert figures == {f"figures/{name}{kind}" for name in drawings for kind in (".svg", "-dark.svg", ".png")}


@pytest.mark.parametrize("name", RUN)
def test_the_summary_on_the_disk_is_the_one_that_is_read(name: str, runs: Runs) -> None:
    stored = json.loads((runs.folder(name) / "summary.json").read_text())
    summary = runs.result(name).summary
    assert (stored["title"], stored["kind"]) == (summary.title, summary.kind)
    assert [table["title"] for table in stored["tables"]] == [table.title for table in summary.tables]
    for item in itertools.chain(stored["quantities"], *(table["columns"] for table in stored["tables"])):
        assert item["definition"].strip(), item["name"]


@pytest.mark.parametrize("name", RUN)
def test_groups_and_descriptions(name: str, runs: Runs) -> None:
    tree = runs.tree(name)
    assert {node.path for node in tree.subtree} - {"/"} == GROUPS[name]
    for node in tree.subtree:
        for variable in node.dataset.data_vars.values():
            place = f"{node.path}/{variable.name}"
            assert variable.attrs["units"].strip(), place
            assert len(variable.attrs["long_name"]) >= 1, place
            assert variable.size > 0, place
            if variable.dims:
                assert all(not re.match(r"dim_|phony", str(name)) for name in variable.dims), place
        if "part" in node.dataset.dims:
            assert node["part"].values.tolist() == ["global_mean", "class_means", "within_class"]


@pytest.mark.parametrize("name", RUN)
def test_every_time_has_its_unit_with_z(name: str, runs: Runs) -> None:
    z = runs.tree(name)["scenario"].attrs["loss_scale"]
    assert z.startswith("Z = ")
    units = {
        variable.attrs["units"]
        for node in runs.tree(name).subtree
        for variable in node.dataset.variables.values()
        if variable.attrs.get("units", "1") != "1"
    }
    units -= OTHER_UNITS.get(name, set())
    assert units
    assert all(f"gradient-flow time ({z})" in unit for unit in units)


@pytest.mark.parametrize("name", RUN)
def test_what_was_run_is_kept(name: str, runs: Runs) -> None:
    kept = runs.folder(name) / "scenario.yaml"
    attributes = runs.tree(name)["scenario"].attrs
    assert attributes["yaml"] == kept.read_text()
    expected = load_scenario(SCENARIOS / f"{name}.yaml", REDUCED[name]).scenario
    assert load_scenario(kept).scenario == expected
    assert (attributes["kind"], attributes["name"]) == (expected.kind, expected.name)
    assert attributes["seed"] == expected.seed
    assert runs.result(name).provenance["seed"] == expected.seed


@pytest.mark.parametrize("name", RUN)
def test_figures_show_something(name: str, runs: Runs) -> None:
    for file in sorted((runs.folder(name) / "figures").iterdir()):
        if file.suffix == ".png":
            pixels = matplotlib.image.imread(file)
            assert min(pixels.shape[:2]) > 200, file
            grey = pixels[..., :3].mean(axis=2)
            drawn = np.abs(grey - np.median(grey)) > 0.1
            assert 0.003 < drawn.mean() < 0.95, file
            # Ink in every quarter of the width: axes, curves, labels, and not a lone mark.
            assert all(quarter.any() for quarter in np.array_split(drawn, 4, axis=1)), file
        else:
            root = ElementTree.parse(file).getroot()
            assert root.tag.endswith("svg")
            assert sum(element.tag.endswith(("path", "use", "image")) for element in root.iter()) > 20, file


@pytest.mark.parametrize("name", RUN)
def test_the_report_opens_without_the_rest(name: str, runs: Runs) -> None:
    page = (runs.folder(name) / "report.html").read_text()
    figures = len(list((runs.folder(name) / "figures").glob("*.png")))
    assert page.count("<figure") == figures
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    for table in runs.result(name).summary.tables:
        assert table.title in page
