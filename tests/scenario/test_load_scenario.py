"""Valid scenarios: what comes back, and what is written down."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkflow.scenario
from ntkflow.scenario import (
    SCENARIO,
    ComparisonScenario,
    FlowScenario,
    GradientFlow,
    LoadedScenario,
    RandomState,
    ResidualsScenario,
    load_scenario,
    resolved_yaml,
)
from ntkflow.scenario.document import read_document

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("flow", FlowScenario),
        ("residuals", ResidualsScenario),
        ("descent", ComparisonScenario),
        ("trained_by_flow", ComparisonScenario),
    ],
)
def test_an_example_becomes_its_kind_of_scenario(name, kind, tmp_path, example):
    file = tmp_path / "s.yaml"
    file.write_text(example(name), encoding="utf-8")
    loaded = load_scenario(str(file), ["name=another"])
    assert isinstance(loaded, LoadedScenario)
    assert type(loaded.scenario) is kind
    assert loaded.scenario.name == "another"
    assert loaded.path == file
    assert loaded.text == example(name)
    assert loaded.overrides == ("name=another",)


def test_a_loaded_scenario_cannot_be_changed():
    loaded = load_scenario(EXAMPLES[0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.text = ""  # pyright: ignore[reportAttributeAccessIssue]


def test_values_arrive_with_their_types():
    flow = load_scenario(Path(__file__).parent / "examples" / "flow.yaml").scenario
    assert isinstance(flow, FlowScenario)
    assert flow.time.end == 1000.0
    assert isinstance(flow.kernel.diagonal, float)
    assert flow.time.first == 1e-4
    assert flow.solver.rtol == 1e-8
    assert [case.name for case in flow.cases] == ["random", "zero invariant", "saved"]
    assert flow.cases[0].initial == RandomState(kind="random", rectified=False)


def test_a_solver_named_in_part_keeps_the_tolerances_of_its_place():
    scenario = load_scenario(Path(__file__).parent / "examples" / "trained_by_flow.yaml").scenario
    assert isinstance(scenario, ComparisonScenario)
    assert isinstance(scenario.training, GradientFlow)
    assert scenario.training.solver.method == "kvaerno5"
    assert scenario.training.solver.rtol == 1e-7
    assert scenario.forecast.solver.rtol == 1e-6


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_resolved_scenario_is_complete_and_loads_again(file, tmp_path):
    scenario = load_scenario(file).scenario
    text = resolved_yaml(scenario)
    again = tmp_path / "resolved.yaml"
    again.write_text(text, encoding="utf-8")
    assert load_scenario(again).scenario == scenario
    written = read_document(text).data
    assert written == SCENARIO.dump_python(scenario, mode="json")
    assert isinstance(written, dict)
    assert list(written) == list(type(scenario).model_fields), "every key, in the order of the schema"


def test_defaults_are_written_out(example, tmp_path):
    text = resolved_yaml(load_scenario(EXAMPLES[0]).scenario)
    assert "activation: relu\n" in text
    assert "rtol: 1e-06\n" in text
    assert re.findall(r"(\w+): null\n", text) == ["test_samples_per_class"]


# Surrogates are no characters; the reader refuses them.
texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@settings(deadline=None)
@given(name=texts, description=texts, scale=st.one_of(numbers, st.sampled_from(["one", "samples"])), first=numbers)
def test_every_text_and_number_survives_being_written(tmp_path_factory, name, description, scale, first):
    data = read_document((Path(__file__).parent / "examples" / "residuals.yaml").read_text(encoding="utf-8")).data
    assert isinstance(data, dict)
    data |= {"name": name, "description": description, "loss_scale": scale, "step_sizes": [first]}
    scenario = SCENARIO.validate_python(data)
    file = tmp_path_factory.getbasetemp() / "survives.yaml"
    file.write_bytes(resolved_yaml(scenario).encode())
    assert load_scenario(file).scenario == scenario


def test_the_room_imports_nothing_heavy():
    allowed = {*sys.stdlib_module_names, "pydantic", "ruamel"}
    inside = ("ntkflow.scenario", "ntkflow.errors")
    for module in Path(ntkflow.scenario.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] in allowed or name.startswith(inside), f"{module.name} imports {name}"
