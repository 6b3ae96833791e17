"""Figures of the papers: what they are made of exists and is checked, and a reduced one is drawn from start to end."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from experiments.command import SCENARIOS, ntkflow

from ntkflow.figures import FIGURES, made_figure
from ntkflow.results import read_result
from ntkflow.scenario import load_scenario, resolved_yaml

_MLP = "network={kind: mlp, width: 8, hidden_layers: 1, features: 6, activation: tanh}"
_TRAINED = (
    "training.precision=float64",
    "training.epochs=3",
    "training.batch_per_class=4",
    "records={epochs: [1], kernel_samples_per_class: 3}",
)
_DATA = "data={source: digits, classes: 3, samples_per_class: 4, test_samples_per_class: 2, labels: zero_centred}"
_SIGMA = "network={kind: mlp, width: 8, hidden_layers: 1, features: 6, sigma_w: 1.0}"
_MEAN_FIELD = (
    "plane={sigma_w2: {start: 0.5, end: 4.0, points: 8}, sigma_b2: {start: 0.0, end: 1.0, points: 3}}",
    "depth=8",
    "correlations=[0.0, 0.6]",
)
REDUCED: dict[str, tuple[str, ...]] = {
    "paper1-kernel-change": (
        "data={source: digits, classes: 3, samples_per_class: 4}",
        "depths=[2, 3]",
        "widths=[6, 8]",
        "steps=20",
        "measured_steps=[1, 10]",
    ),
    "paper3-fig1-training": (_DATA, _MLP, *_TRAINED),
    "paper3-fig1-kernels": (_DATA, "measure.samples_per_class=3", "network.statistics=stored"),
    "paper3-fig2": (_DATA, _MLP, *_TRAINED, "ensemble={step_sizes: [0.002, 0.05]}"),
    "paper1-fig5-erf": _MEAN_FIELD,
    "paper1-fig5-relu": _MEAN_FIELD,
    **{name: () for name in ("paper1-fig1", *(f"paper2-fig{number}" for number in (1, 2, 3, 5, 6, 7)))},
    "paper2-fig4-training": (_DATA, _SIGMA, *_TRAINED, "training.step_size=1.0e-3", "checkpoints.snapshots=[0, 1]"),
    "paper2-fig4-kernels": (_DATA, "measure.samples_per_class=3"),
}


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenarios of the figures at a size that takes seconds, by the same names."""
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "figures").mkdir()
    for name, changes in REDUCED.items():
        loaded = load_scenario(SCENARIOS / "figures" / f"{name}.yaml", changes)
        (folder / "figures" / f"{name}.yaml").write_text(resolved_yaml(loaded.scenario))
    return folder


@pytest.mark.parametrize("name", sorted(FIGURES))
@pytest.mark.parametrize("setting", ["laptop", "paper"])
def test_every_stage_is_a_scenario_that_is_accepted(name: str, setting: Any) -> None:
    before: set[str] = set()
    for stage in FIGURES[name].stages(setting):
        texts = list(stage.overrides)
        for index, text in enumerate(texts):
            for other in before:
                texts[index] = texts[index].replace("{" + other + "}", "/somewhere")
            # What a stage starts from comes before it.
            assert "/network.ckpt" not in text or "/somewhere" in texts[index]
        load_scenario(SCENARIOS / stage.scenario, texts)
        assert stage.name not in before
        before.add(stage.name)


def test_the_reduced_ones_are_all() -> None:
    assert set(REDUCED) == {path.stem for path in (SCENARIOS / "figures").glob("*.yaml")}


@pytest.mark.parametrize(
    "name", ["paper1-fig5", "paper1-fig6", "paper3-fig1", "paper3-table1", "paper3-fig2", "paper3-fig3"]
)
def test_a_figure_from_its_scenarios(name: str, scenarios: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    output = tmp_path_factory.getbasetemp() / "figures-of-papers"
    output.mkdir(exist_ok=True)
    there = {path: path.stat().st_mtime_ns for path in output.glob("*/manifest.json")}
    figure, files = made_figure(name, scenarios=scenarios, output=output)
    assert [file.name for file in files] == [f"{name}.svg", f"{name}-dark.svg", f"{name}.png", f"{name}.txt"]
    assert np.ptp(matplotlib.image.imread(output / f"{name}.png")) > 0
    assert ElementTree.parse(output / f"{name}.svg").getroot().tag.endswith("svg")
    assert figure.caption in (output / f"{name}.txt").read_text()
    for stage in FIGURES[name].laptop:
        read_result(output / stage.name)
    # What another figure has run is taken, not run again.
    assert all(path.stat().st_mtime_ns == when for path, when in there.items())


def test_a_result_of_another_scenario_is_in_the_way(
    scenarios: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = tmp_path_factory.getbasetemp() / "figures-of-papers"
    if shared.exists():  # What the figures' own test has run need not run again.
        shutil.copytree(shared, tmp_path, dirs_exist_ok=True)
    made = ntkflow("figure", "paper3-fig2", "--scenarios", scenarios, "-o", tmp_path, "-q")
    assert made.code == 0, made.err
    assert made.out.splitlines()[2] == str(tmp_path / "paper3-fig2.png")
    changed = tmp_path / "changed"
    (changed / "figures").mkdir(parents=True)
    text = (scenarios / "figures" / "paper3-fig2.yaml").read_text()
    (changed / "figures" / "paper3-fig2.yaml").write_text(text.replace("seed: 0", "seed: 1"))
    said = ntkflow("figure", "paper3-fig2", "--scenarios", changed, "-o", tmp_path, "-q")
    assert "--overwrite" in said.refused()
    over = ntkflow("figure", "paper3-fig2", "--scenarios", changed, "-o", tmp_path, "-q", "--overwrite")
    assert over.code == 0, over.err


def test_what_the_command_refuses(tmp_path: Path) -> None:
    assert "there is no figure 'paper3-fig99'" in ntkflow("figure", "paper3-fig99").refused()
    assert "there is no setting 'desktop'" in ntkflow("figure", "paper3-fig1", "--setting", "desktop").refused()
    said = ntkflow("figure", "paper3-fig1", "--scenarios", tmp_path, "-o", tmp_path / "out").refused()
    assert "is not in" in said
    assert "--scenarios FOLDER" in said
    listed = ntkflow("figure")
    assert listed.code == 0
    assert all(name in listed.out for name in FIGURES)


@pytest.mark.slow
def test_deep_networks_at_several_epochs(scenarios: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ntkflow.figures import catalogue

    monkeypatch.setitem(catalogue._DEEP, "laptop", (0, 1, 3))
    figure = catalogue.PaperFigure("", "", catalogue._deep_stages("laptop"), (), catalogue._structure)
    monkeypatch.setitem(FIGURES, "deep", figure)
    assert len(figure.laptop) == 3 * 4
    made_figure("deep", scenarios=scenarios, output=tmp_path)
    assert np.ptp(matplotlib.image.imread(tmp_path / "deep.png")) > 0
