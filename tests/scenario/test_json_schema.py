"""The exported JSON Schema, judged by a validator of its own for the few keywords it uses."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import ntkflow.scenario
from ntkflow.scenario import json_schema, load_scenario, resolved_yaml
from ntkflow.scenario.document import read_document

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))
MODELS = [
    model
    for model in vars(ntkflow.scenario).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and model.model_fields
]
ANNOTATIONS = {"$defs", "$schema", "title", "description", "default", "discriminator", "patternErrorMessage"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def accepts(rules: dict[str, Any], value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value follows the rules; a keyword that is not known here is an error of the test."""

    def holds(keyword: str, given: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        match keyword:
            case "$ref":
                return accepts(schema["$defs"][given.removeprefix("#/$defs/")], value, schema)
            case "oneOf":
                return sum(accepts(branch, value, schema) for branch in given) == 1
            case "anyOf":
                return any(accepts(branch, value, schema) for branch in given)
            case "type" if given == "integer":
                return number and float(value).is_integer()
            case "type" if given == "number":
                return number and math.isfinite(value)
            case "type":
                return isinstance(value, TYPES[given])
            case "const":
                return value == given
            case "enum":
                return value in given
            case "minimum":
                return not number or value >= given
            case "maximum":
                return not number or value <= given
            case "exclusiveMinimum":
                return not number or value > given
            case "exclusiveMaximum":
                return not number or value < given
            case "pattern":
                return not isinstance(value, str) or re.search(given, value) is not None
            case "minItems":
                return not isinstance(value, list) or len(value) >= given
            case "items":
                return not isinstance(value, list) or all(accepts(given, item, schema) for item in value)
            case "required":
                return not isinstance(value, dict) or set(given) <= set(value)
            case "properties":
                return not isinstance(value, dict) or all(
                    accepts(given[key], item, schema) for key, item in value.items() if key in given
                )
            case "additionalProperties":
                assert given is False
                return not isinstance(value, dict) or set(value) <= set(rules["properties"])
            case _:
                raise AssertionError(f"unknown keyword {keyword}")

    return all(holds(keyword, given) for keyword, given in rules.items() if keyword not in ANNOTATIONS)


def _data(text: str) -> Any:
    return read_document(text).data


def test_the_head_says_what_it_is():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "ntkflow scenario"
    assert schema["description"]
    json.dumps(schema, allow_nan=False)


def test_a_caller_may_change_what_it_got():
    json_schema()["$defs"].clear()
    assert json_schema()["$defs"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_there_with_a_description(model):
    properties = json_schema()["$defs"]
    if model.__name__ not in properties:
        pytest.skip("only a base of other models")
    exported = properties[model.__name__]
    assert exported["description"] == model.__doc__.split("\n\n")[0] or exported["description"]
    assert list(exported["properties"]) == list(model.model_fields)
    assert exported["additionalProperties"] is False
    for name, rules in exported["properties"].items():
        assert rules.get("description"), f"{model.__name__}.{name} has no description"


def test_the_room_exports_every_model_of_the_schema():
    assert {model.__name__ for model in MODELS} >= set(json_schema()["$defs"])


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_valid_documents_are_accepted_as_written_and_as_resolved(file):
    schema = json_schema()
    assert accepts(schema, _data(file.read_text(encoding="utf-8")), schema)
    assert accepts(schema, _data(resolved_yaml(load_scenario(file).scenario)), schema)


@pytest.mark.parametrize(
    ("name", "replacement"),
    [
        ("descent", ("width: 64", "widht: 64")),
        ("descent", ("width: 64", "width: '64'")),
        ("descent", ("width: 64", "width: 0")),
        ("descent", ("name: digits\n", "")),
        ("descent", ("loss_scale: samples", "loss_scale: sample")),
        ("descent", ("loss_scale: samples", "loss_scale: 0")),
        ("descent", ("[0, 10, 50]", "[]")),
        ("flow", ("kind: flow", "kind: residuals")),
        ("flow", ("name: saved", "name: /saved")),
        ("flow", ("rtol: 1e-8", "rtol: 1")),
        ("residuals", ("[0.1, 1]", "[0.1, .nan]")),
    ],
)
def test_bad_documents_are_not(name, replacement, example):
    schema = json_schema()
    assert accepts(schema, _data(example(name)), schema)
    assert not accepts(schema, _data(example(name, replacement)), schema)
