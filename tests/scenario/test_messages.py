"""What is said about each kind of mistake, word for word."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from ntkflow.errors import ScenarioError
from ntkflow.scenario import load_scenario, resolved_yaml
from ntkflow.scenario.document import read_document
from ntkflow.scenario.paths import KeyPath, dotted
from ntkflow.scenario.schema import SCENARIO

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))

LOSS_SCALE = "'one', 'samples' or 'samples_times_outputs', or a number > 0"
NETWORK_KEYS = (
    "kind, width, hidden_layers, widths, features, activation, initialization, readout_initialization, "
    "parametrization, sigma_w, sigma_b"
)
DESCENT_KEYS = "method, step_size, steps, snapshots, records"

KINDS = (
    "'comparison', 'dispersion', 'end_of_training', 'flow', 'kernel', 'kernel_change', 'mean_field', 'regression', "
    "'relaxation', 'residuals', 'run_comparison', 'training' or 'width'"
)

SPOILED = [
    pytest.param(
        "descent",
        ("width: 64", "widht: 64"),
        f"s.yaml:9:3: network.widht: unknown key; did you mean 'width'? (known for kind 'mlp': {NETWORK_KEYS})",
        id="mistyped key",
    ),
    pytest.param(
        "descent",
        ("width: 64", "WIDTH: 3"),
        "s.yaml:9:3: network.WIDTH: unknown key; did you mean 'width'? (known for kind 'mlp': " + NETWORK_KEYS + ")",
        id="key in capitals",
    ),
    pytest.param(
        "descent",
        ("width: 64", "zzz: 64"),
        f"s.yaml:9:3: network.zzz: unknown key (known for kind 'mlp': {NETWORK_KEYS})",
        id="key like no other",
    ),
    pytest.param(
        "descent",
        ("steps: 100", "steps: 100\n  momentum: 0.9"),
        f"s.yaml:14:3: training.momentum: unknown key (known for method 'gradient_descent': {DESCENT_KEYS})",
        id="key unknown to this method",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: '64'"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found the text '64'; "
        "did you mean 64 without quotes?",
        id="number in quotes",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: '6.4'"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found the text '6.4'",
        id="broken number in quotes",
    ),
    pytest.param(
        "flow",
        ("end: 1e3", "end: '.inf'"),
        "s.yaml:11:8: time.end: expected a number > 0, found the text '.inf'",
        id="infinity in quotes",
    ),
    pytest.param(
        "flow",
        ("end: 1e3", "end: '1" + 400 * "0" + "'"),
        f"s.yaml:11:8: time.end: expected a number > 0, found the text '1{36 * '0'}...'; "
        f"did you mean 1{36 * '0'}... without quotes?",
        id="huge number in quotes",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: wide"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found the text 'wide'",
        id="text for a number",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: 64.0"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found the number 64.0; did you mean 64?",
        id="whole number with a point",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: 64.5"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found the number 64.5",
        id="broken number",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: 0"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found the number 0",
        id="below the bound",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: true"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found true",
        id="truth value for a number",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width:"),
        "s.yaml:9:3: network.width: expected a whole number >= 1, found nothing (null)",
        id="no value",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: [64, 64]"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found a list of 2 items",
        id="list for a number",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: {each: 64}"),
        "s.yaml:9:10: network.width: expected a whole number >= 1, found a mapping with the key each",
        id="mapping for a number",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: 1000000000000000000000"),
        "s.yaml:9:10: network.width: expected a whole number >= 1 and <= 1000000000, found the number 1e+21",
        id="huge whole number",
    ),
    pytest.param(
        "descent",
        ("[0, 10, 50]", "[0, 1" + 400 * "0" + "]"),
        "s.yaml:14:18: training.snapshots[1]: expected a whole number >= 0 and <= 1000000000, "
        "found a number too large for double precision",
        id="whole number beyond floating point",
    ),
    pytest.param(
        "descent",
        ("width: 64", "width: 1" + 5000 * "0"),
        "s.yaml:9:10: network.width: '1000000000000000000000000000000000000...' cannot be read as a whole number; "
        "put it in quotes if it is text",
        id="whole number beyond Python's reader",
    ),
    pytest.param(
        "flow",
        ("end: 1e3", "end: .nan"),
        "s.yaml:11:8: time.end: expected a number > 0, found .nan (not a number)",
        id="nan",
    ),
    pytest.param(
        "flow",
        ("end: 1e3", "end: -.inf"),
        "s.yaml:11:8: time.end: expected a number > 0, found an infinite number",
        id="infinity",
    ),
    pytest.param(
        "flow",
        ("end: 1e3", "end: 1e999"),
        "s.yaml:11:8: time.end: expected a number > 0, found an infinite number",
        id="overflow",
    ),
    pytest.param(
        "flow",
        ("rtol: 1e-8", "rtol: 1"),
        "s.yaml:14:9: solver.rtol: expected a number > 0 and < 1, found the number 1",
        id="two bounds",
    ),
    pytest.param(
        "flow",
        ("name: three states", "name: 12"),
        "s.yaml:3:7: name: expected text, found the number 12; put it in quotes to make it text",
        id="number for text",
    ),
    pytest.param(
        "flow",
        ("name: three states", "name: 2026-11-22"),
        "s.yaml:3:7: name: expected text, found the date 2026-11-22; put it in quotes to make it text",
        id="date for text",
    ),
    pytest.param(
        "flow",
        ("name: three states", "name:"),
        "s.yaml:3:1: name: expected text, found nothing (null); write '' for an empty text",
        id="nothing for text",
    ),
    pytest.param(
        "flow",
        ("name: zero invariant", "name: ../zero"),
        "s.yaml:20:11: cases[1].name: expected text (letters, digits, spaces and the signs _ . - only, "
        "a letter or a digit first), found the text '../zero'",
        id="text of another form",
    ),
    pytest.param(
        "flow",
        ("rectified: false", "rectified: no"),
        "s.yaml:19:18: cases[0].initial.rectified: expected true or false, found the text 'no'; did you mean false?",
        id="truth value of YAML 1.1",
    ),
    pytest.param(
        "flow",
        ("rectified: false", "rectified: 'false'"),
        "s.yaml:19:18: cases[0].initial.rectified: expected true or false, found the text 'false'; "
        "did you mean false without quotes?",
        id="truth value in quotes",
    ),
    pytest.param(
        "flow",
        ("rtol: 1e-8", "method: dopri5"),
        "s.yaml:14:11: solver.method: expected 'auto', 'tsit5', 'dopri8', 'rkc2', 'kvaerno5' or 'kvaerno5_krylov', "
        "found the text 'dopri5'; did you mean 'dopri8'?",
        id="mistyped name",
    ),
    pytest.param(
        "flow",
        ("kind: zero_invariant", "kind: zero_invariants"),
        "s.yaml:21:21: cases[1].initial.kind: expected 'file', 'random', 'unbalanced' or 'zero_invariant', "
        "found the text 'zero_invariants'; did you mean 'zero_invariant'?",
        id="mistyped kind inside",
    ),
    pytest.param(
        "flow",
        ("kind: flow", "kind: flo"),
        f"s.yaml:2:7: kind: expected {KINDS}, found the text 'flo'; did you mean 'flow'?",
        id="mistyped kind of scenario",
    ),
    pytest.param(
        "flow",
        ("kind: flow", "kind: [flow]"),
        f"s.yaml:2:7: kind: expected {KINDS}, found a list of 1 item",
        id="list for a kind",
    ),
    pytest.param(
        "flow",
        ("kind: flow\n", ""),
        f"s.yaml:2:1: kind: missing key, expected {KINDS} (Which kind of scenario it is.)",
        id="missing kind of scenario",
    ),
    pytest.param(
        "descent",
        ("method: gradient", "mehtod: gradient"),
        "s.yaml:11:3: training.method: missing key, expected 'gradient_descent' or 'gradient_flow' "
        "(How the network is trained.); is 'mehtod' meant to be it?",
        id="mistyped discriminator",
    ),
    pytest.param(
        "flow",
        ("  end: 1e3\n", ""),
        "s.yaml:11:3: time.end: missing key, expected a number > 0 (Last time.)",
        id="missing key",
    ),
    pytest.param(
        "flow",
        (", features: 5", ""),
        "s.yaml:5:10: problem.features: missing key, expected a whole number >= 1 "
        "(Number of last-layer features n; paper 3 assumes n > C.)",
        id="missing key in braces",
    ),
    pytest.param(
        "flow",
        ("kernel:\n", "kernel: 3\nsolver_:\n"),
        "s.yaml:6:9: kernel: expected a mapping with the keys diagonal, same_class, different_class, "
        "found the number 3\n"
        "s.yaml:7:1: solver_: unknown key; did you mean 'solver'? (known for kind 'flow': kind, name, description, "
        "seed, loss_scale, problem, kernel, representation, samples, time, solver, cases, ensemble)",
        id="number for a mapping",
    ),
    pytest.param(
        "flow",
        ("initial: {kind: file, path: state.npz}", "initial: state.npz"),
        "s.yaml:23:14: cases[2].initial: expected a mapping with the key kind ('file', 'random', 'unbalanced' or "
        "'zero_invariant'), found the text 'state.npz'",
        id="text for a mapping of several kinds",
    ),
    pytest.param(
        "descent",
        ("[0, 10, 50]", "10"),
        "s.yaml:14:14: training.snapshots: expected a list of at least 1 item, each a whole number >= 0, "
        "found the number 10; put it in brackets to make a list of one item",
        id="number for a list",
    ),
    pytest.param(
        "descent",
        ("[0, 10, 50]", "[]"),
        "s.yaml:14:14: training.snapshots: expected a list of at least 1 item, each a whole number >= 0, "
        "found an empty list",
        id="empty list",
    ),
    pytest.param(
        "descent",
        ("[0, 10, 50]", "[ten]"),
        "s.yaml:14:15: training.snapshots[0]: expected a whole number >= 0, found the text 'ten'",
        id="wrong item, which is not also a short list",
    ),
    pytest.param(
        "residuals",
        ("[0.1, 1]", "['0.1', 1]"),
        "s.yaml:13:14: step_sizes[0]: expected a number > 0, found the text '0.1'; did you mean 0.1 without quotes?",
        id="items are not converted either",
    ),
    pytest.param(
        "descent",
        ("- full_frozen", "- full frozen"),
        "s.yaml:17:7: forecast.models[0]: expected 'linearized', 'mean_jacobian_linear', "
        "'mean_jacobian', 'updated_linear', 'updated', 'full_frozen', "
        "'neuron_diagonal', 'isotropic', 'within_spectrum', 'matrix_blocks', 'neuron_values' or 'three_values', found "
        "the text 'full frozen'; "
        "did you mean 'full_frozen'?",
        id="mistyped name in a list",
    ),
    pytest.param(
        "descent",
        ("horizon: 20", "horizon: far"),
        "s.yaml:18:12: forecast.horizon: expected a number > 0, or null, found the text 'far'",
        id="optional number",
    ),
    pytest.param(
        "descent",
        ("loss_scale: samples", "loss_scale: sampels"),
        f"s.yaml:3:13: loss_scale: expected {LOSS_SCALE}, found the text 'sampels'; did you mean 'samples'?",
        id="union: mistyped name",
    ),
    pytest.param(
        "descent",
        ("loss_scale: samples", "loss_scale: 0"),
        f"s.yaml:3:13: loss_scale: expected {LOSS_SCALE}, found the number 0",
        id="union: number out of bounds",
    ),
    pytest.param(
        "descent",
        ("loss_scale: samples", "loss_scale: [1, 2]"),
        f"s.yaml:3:13: loss_scale: expected {LOSS_SCALE}, found a list of 2 items",
        id="union: neither",
    ),
    pytest.param(
        "descent",
        ("loss_scale: samples", "loss_scale: '12'"),
        f"s.yaml:3:13: loss_scale: expected {LOSS_SCALE}, found the text '12'; did you mean 12 without quotes?",
        id="union: number in quotes",
    ),
    pytest.param(
        "flow",
        ("diagonal: 3", "diagonal: 2"),
        "s.yaml:7:3: kernel: the order diagonal > same_class > different_class >= 0 (paper 3, Definition 3.1) is "
        "violated by 2, 2, 1",
        id="values wrong together",
    ),
    pytest.param(
        "descent",
        ("[0, 10, 50]", "[0, 10, 100]"),
        "s.yaml:11:3: training: the last snapshot, 100, must come before the end of training (steps: 100)",
        id="values wrong together in a mapping of several kinds",
    ),
    pytest.param(
        "flow",
        ("name: zero invariant", "name: random"),
        "s.yaml:16:3: cases: every case needs its own name, but the names are random, random, saved",
        id="values wrong together in a list",
    ),
    pytest.param(
        "many",
        ("ensemble:\n", "cases: [{name: x, initial: {kind: random}}]\nensemble:\n"),
        "s.yaml:2:1: either cases or an ensemble is needed, but there is both",
        id="two ways at once",
    ),
    pytest.param(
        "many",
        ("kind: flow\n", "kind: flow\nrepresentation: sample\n"),
        "s.yaml:2:1: an ensemble is integrated with the scatter from the invariant; representation: sample is for "
        "cases",
        id="value for the other way",
    ),
    pytest.param(
        "many",
        ("values: [0, 0.5, 1.5]", "values: [0, 0.5, 2.5]"),
        "s.yaml:2:1: the order diagonal > same_class > different_class >= 0 (paper 3, Definition 3.1) is violated by "
        "3, 2, 2.5 of the member with kernel.different_class = 2.5",
        id="a member's values wrong together",
    ),
    pytest.param(
        "many",
        ("kind: unbalanced, mean_scale: 0.2", "kind: zero_invariant"),
        "s.yaml:9:3: ensemble: initial.weight_ratio is no value of an initial state of kind zero_invariant, which has "
        "initial.feature_scale, initial.within_scale",
        id="value of another initial state",
    ),
    pytest.param(
        "many",
        ("      low: 0.5\n", "      low: 0\n"),
        "s.yaml:14:7: ensemble.vary[1]: initial.weight_ratio: draw: log_uniform needs low > 0, not 0",
        id="no logarithm",
    ),
    pytest.param(
        "many",
        ("      low: 0.5\n", "      values: [1]\n"),
        "s.yaml:14:7: ensemble.vary[1]: initial.weight_ratio: either values, or low and high, but not both",
        id="listed and drawn",
    ),
    pytest.param(
        "many",
        ("      low: 0.5\n", ""),
        "s.yaml:14:7: ensemble.vary[1]: initial.weight_ratio: values are needed, or low and high to draw between",
        id="drawn from nowhere",
    ),
    pytest.param(
        "many",
        ("key: initial.weight_ratio", "key: kernel.different_class"),
        "s.yaml:9:3: ensemble: every key may vary once, but they are kernel.different_class, kernel.different_class",
        id="varied twice",
    ),
    pytest.param(
        "many",
        ("repeats: 4", "repeats: 400000"),
        "s.yaml:9:3: ensemble: 1200000 members are asked for, more than 1000000",
        id="too many members",
    ),
]


@pytest.mark.parametrize(("name", "replacement", "expected"), SPOILED)
def test_one_mistake_one_message(name, replacement, expected, example, complaint):
    assert complaint(example(name, replacement)) == expected


def test_all_problems_come_together_in_the_order_of_the_file(example, complaint):
    text = example(
        "descent",
        ("loss_scale: samples", "loss_scale: -1"),
        ("width: 64", "widht: 64"),
        ("steps: 100", "steps: many"),
        ("horizon: 20", "horizons: 20"),
        ("name: digits\n", ""),
    )
    heads = [line.split(" ")[:2] for line in complaint(text).splitlines()]
    assert heads == [
        ["s.yaml:1:1:", "name:"],
        ["s.yaml:2:13:", "loss_scale:"],
        ["s.yaml:8:3:", "network.widht:"],
        ["s.yaml:12:10:", "training.steps:"],
        ["s.yaml:17:3:", "forecast.horizons:"],
    ]


def test_a_single_problem_is_also_available_in_parts(tmp_path, example):
    file = tmp_path / "s.yaml"
    file.write_text(example("descent", ("width: 64", "width: 0")), encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    assert caught.value.place == f"{file}:9:10"
    assert caught.value.what == "network.width: expected a whole number >= 1, found the number 0"


def test_a_key_with_the_name_of_a_kind_is_not_taken_for_the_kind(example, complaint):
    text = example("trained_by_flow", ("path: data.npz", "path: data.npz\n  file: data.npz"))
    assert complaint(text).startswith("s.yaml:7:3: data.file: unknown key")


def test_strange_keys_stay_on_one_line(example, complaint):
    text = example("flow", ("kind: flow", 'kind: flow\n"a\\nb": 1'))
    assert complaint(text).startswith(r"s.yaml:3:1: ['a\nb']: unknown key (known for kind 'flow': ")


def test_long_texts_are_cut(example, complaint):
    text = example("descent", ("width: 64", f"width: {'w' * 500}"))
    assert complaint(text).endswith(f"found the text '{'w' * 37}...'")


def test_values_behind_aliases_are_found_where_they_are_written(example, complaint):
    text = example("flow", ("rtol: 1e-8", "rtol: 2"), ("kernel:\n", "kernel:\n  <<: *late\n"))
    text = "x: &late {diagonl: 4}\n" + text
    lines = complaint(text).splitlines()
    assert lines[0].startswith("s.yaml:1:1: x: unknown key")
    assert lines[1].startswith("s.yaml:1:11: kernel.diagonl: unknown key; did you mean 'diagonal'?")
    assert lines[2].startswith("s.yaml:16:9: solver.rtol: expected a number > 0 and < 1")


def test_no_word_of_the_validation_library_reaches_the_user(example, complaint):
    for name, replacement, _ in (param.values for param in SPOILED):
        text = complaint(example(name, replacement)).lower()
        for word in (
            "pydantic",
            "input should",
            "value error",
            "literal[",
            "constrained",
            "tuple",
            "extra inputs",
            "{'",
        ):
            assert word not in text


# From here on every value of every example is spoiled in turn, so that a new field of the schema is covered unasked.


def _complete(file: Path) -> dict:
    data = read_document(resolved_yaml(load_scenario(file).scenario)).data
    assert isinstance(data, dict)
    return data


def _paths(data: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in children:
        yield from _paths(value, (*path, key))


def _container(data, path: KeyPath):
    for item in path[:-1]:
        data = data[item]
    return data


def _required(data: dict, path: KeyPath) -> bool:
    del _container(data, path)[path[-1]]
    try:
        SCENARIO.validate_python(data)
    except ValidationError as error:
        # Where one of several keys is needed, a mapping without any is wrong as a whole.
        return any(detail["type"] in ("missing", "union_tag_not_found") for detail in error.errors())
    return False


VALUES = [(file, path) for file in EXAMPLES for path in _paths(_complete(file))]
KEYS = [(file, path) for file, path in VALUES if isinstance(path[-1], str)]
REQUIRED = [(file, path) for file, path in KEYS if _required(_complete(file), path)]
MAPPINGS = sorted({(file, path[:-1]) for file, path in KEYS}, key=str)


def _name(value: object) -> str:
    return value.stem if isinstance(value, Path) else dotted(value) if isinstance(value, tuple) else ""


def _complaint_about(data: dict, file: Path) -> tuple[str, str]:
    with file.open("w", encoding="utf-8") as stream:
        YAML(typ="safe", pure=True).dump(data, stream)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    return str(caught.value), file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("source", "path"), VALUES, ids=_name)
def test_a_wrong_value_anywhere_is_one_message_at_that_value(source, path, tmp_path):
    data = copy.deepcopy(_complete(source))
    # No field of the schema accepts a date, neither as a value nor as a mapping or a list.
    _container(data, path)[path[-1]] = datetime.date(2026, 11, 22)
    file = tmp_path / "s.yaml"
    message, text = _complaint_about(data, file)
    at = read_document(text).find(path)
    assert message.startswith(f"{file}:{at.line}:{at.column}: {dotted(path)}: expected ")
    assert "found the date 2026-11-22" in message
    assert text.splitlines()[at.line - 1][at.column - 1 :].startswith("2026-11-22")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("source", "path"), MAPPINGS, ids=_name)
def test_an_unknown_key_anywhere_is_one_message_at_that_key(source, path, tmp_path):
    data = copy.deepcopy(_complete(source))
    _container(data, (*path, "zzz"))["zzz"] = 1
    file = tmp_path / "s.yaml"
    message, text = _complaint_about(data, file)
    at = read_document(text).find((*path, "zzz"))
    assert message.startswith(f"{file}:{at.key_line}:{at.key_column}: {dotted((*path, 'zzz'))}: unknown key (known ")
    assert text.splitlines()[at.key_line - 1][at.key_column - 1 :].startswith("zzz")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("source", "path"), REQUIRED, ids=_name)
def test_a_missing_key_is_one_message_with_its_description(source, path, tmp_path):
    data = copy.deepcopy(_complete(source))
    del _container(data, path)[path[-1]]
    file = tmp_path / "s.yaml"
    message, text = _complaint_about(data, file)
    at = read_document(text).find(path[:-1])
    assert message.startswith(f"{file}:{at.line}:{at.column}: {dotted(path)}: missing key, expected ")
    assert message.endswith(".)"), "the description is shown"
    assert len(message.splitlines()) == 1
