"""``--set``: what it changes, and what is said when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from ntkflow.scenario import load_scenario
from ntkflow.scenario.overrides import apply_overrides
from ntkflow.scenario.paths import dotted, parse_path

FLOW_KEYS = (
    "kind, name, description, seed, loss_scale, problem, kernel, representation, samples, time, solver, cases, ensemble"
)


def _applied(data: dict, *texts: str) -> dict:
    return apply_overrides(data, texts)[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=128", 128),
        ("a=1e-3", 1e-3),
        ("a=true", True),
        ("a=null", None),
        ("a=", None),
        ("a=''", ""),
        ("a=[0, 10]", [0, 10]),
        ("a={b: 1}", {"b": 1}),
        ("a=two words", "two words"),
        ("a=b=c", "b=c"),
        ("a='1'", "1"),
        (" a = 3 ", 3),
    ],
)
def test_values_are_read_as_yaml(text, value):
    result = _applied({}, text)["a"]
    assert result == value
    assert type(result) is type(value)


def test_indices_in_brackets_and_between_dots():
    data = {"cases": [{"name": "x"}, {"name": "y"}], "grid": [[1, 2], [3, 4]]}
    assert _applied(data, "cases[1].name=z")["cases"] == [{"name": "x"}, {"name": "z"}]
    assert _applied(data, "cases.0.name=z")["cases"] == [{"name": "z"}, {"name": "y"}]
    assert _applied(data, "grid[1][0]=9")["grid"] == [[1, 2], [9, 4]]
    assert _applied(data, "grid.1.0=9")["grid"] == [[1, 2], [9, 4]]
    assert data == {"cases": [{"name": "x"}, {"name": "y"}], "grid": [[1, 2], [3, 4]]}, "the file's values stay"


def test_mappings_on_the_way_are_made():
    assert _applied({"b": None}, "a.b.c=1", "b.d=2") == {"a": {"b": {"c": 1}}, "b": {"d": 2}}


def test_the_later_wins():
    assert _applied({}, "a.b=1", "a.b=2", "c=3", "c={d: 4}", "c.e=5") == {"a": {"b": 2}, "c": {"d": 4, "e": 5}}


def test_an_alias_is_changed_only_where_it_is_named():
    shared = {"x": [1]}
    assert _applied({"a": shared, "b": shared}, "a.x[0]=2") == {"a": {"x": [2]}, "b": {"x": [1]}}


def test_overrides_are_applied_before_the_check(tmp_path, example):
    file = tmp_path / "s.yaml"
    file.write_text(example("descent", ("width: 64", "width: wrong")), encoding="utf-8")
    loaded = load_scenario(file, ["network.width=128", "forecast.solver.rtol=1e-3", "training.snapshots[2]=60"])
    dumped = loaded.scenario.model_dump()
    assert dumped["network"]["width"] == 128
    assert dumped["forecast"]["solver"]["rtol"] == 1e-3
    assert dumped["forecast"]["horizon"] == 20
    assert dumped["training"]["snapshots"] == (0, 10, 60)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "--set seed: no '=' in it; write it as key=value, for instance network.width=128"),
        ("=3", "--set =3: no key is named before the '='"),
        ("time..end=3", "--set time..end=3: a key is empty in 'time..end'"),
        ("cases.[0]=3", "--set cases.[0]=3: a key is empty in 'cases.[0]'"),
        ("time.=3", "--set time.=3: a key is empty in 'time.'"),
        (
            "cases[x]=3",
            "--set cases[x]=3: 'cases[x]' is not a key with indices; an index is a whole number from 0, as in cases[0]",
        ),
        (
            "cases[-1]=3",
            "--set cases[-1]=3: 'cases[-1]' is not a key with indices; "
            "an index is a whole number from 0, as in cases[0]",
        ),
        ("[0]=3", "--set [0]=3: a scenario begins with a key, not with an index"),
        (
            "cases[3].name=x",
            "--set cases[3].name=x: cases[3]: index out of range: cases is a list of 3 items, the last is cases[2]",
        ),
        (
            f"cases.{'9' * 5000}=x",
            f"--set cases.{'9' * 91}...: cases['{'9' * 37}...']: index out of range: ",
        ),
        (
            f"cases[{'9' * 5000}]=x",
            f"--set cases[{'9' * 91}...: 'cases[{'9' * 31}...' is not a key with indices; an index is a whole number",
        ),
        ("cases.name=x", "--set cases.name=x: cases: 'name' is no index of a list of 3 items; write cases[0]"),
        (
            "kernel[0]=3",
            "--set kernel[0]=3: kernel: an index needs a list, "
            "found a mapping with the keys diagonal, same_class, different_class",
        ),
        ("name[0]=x", "--set name[0]=x: name: an index needs a list, found the text 'three states'"),
        ("name.first=x", "--set name.first=x: name: no key can follow here, found the text 'three states'"),
        (
            "steps[0]=3",
            "--set steps[0]=3: steps: index out of range: the file has no list steps; give all of it, steps=[...]",
        ),
        (
            "seed=[1",
            "--set seed=[1: seed: the value cannot be read: what was opened here is not closed by ']', "
            "or a ',' is missing",
        ),
        ("seed=1\n--- 2", "--set 'seed=1\\n--- 2': seed: the value cannot be read: a second document begins here; "),
        ("seed=!!set {}", "--set seed=!!set {}: seed: the value cannot be read: the YAML type !!set is not used"),
        ("seed=1.5", "--set seed=1.5: seed: expected a whole number >= 0, found the number 1.5"),
        ("seed={a: 1}", "--set seed={a: 1}: seed: expected a whole number >= 0, found a mapping with the key a"),
        (
            "seeed=1",
            f"--set seeed=1: seeed: unknown key; did you mean 'seed'? (known for kind 'flow': {FLOW_KEYS})",
        ),
        (
            "solver.rtoll=1",
            "--set solver.rtoll=1: solver.rtoll: unknown key; did you mean 'rtol'? "
            "(known here: method, rtol, atol, max_steps)",
        ),
        ("netwrk.width=1", f"--set netwrk.width=1: netwrk: unknown key (known for kind 'flow': {FLOW_KEYS})"),
        ("seed.x=1", "--set seed.x=1: seed: expected a whole number >= 0, found a mapping with the key x"),
        ("time={}", "--set time={}: time.end: missing key, expected a number > 0 (Last time.)"),
        (
            "cases.1.initial.kind=rand",
            "--set cases.1.initial.kind=rand: cases[1].initial.kind: expected 'file', 'random', 'unbalanced' or "
            "'zero_invariant', found the text 'rand'; did you mean 'random'?",
        ),
        (
            "kernel.diagonal=1",
            "s.yaml:7:3 with --set kernel.diagonal=1: kernel: the order diagonal > same_class > different_class >= 0",
        ),
    ],
)
def test_complaints_name_the_override(override, expected, example, complaint):
    message = complaint(example("flow"), override)
    assert message.startswith(expected)
    assert len(message.splitlines()) == 1


def test_every_bad_override_is_reported_in_order(example, complaint):
    lines = complaint(example("flow"), "seed", "seed=3", "=1", "cases[9]=1").splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["--set seed", "--set =1", "--set cases[9]=1"]


def test_problems_of_the_file_come_before_those_of_the_overrides(example, complaint):
    text = example("flow", ("rtol: 1e-8", "rtol: 2"))
    lines = complaint(text, "time.end=-1", "seed=-1").splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["s.yaml:14:9", "--set time.end=-1", "--set seed=-1"]


def test_a_part_that_is_replaced_twice_is_blamed_on_the_later(example, complaint):
    assert complaint(example("flow"), "time.end=1", "time.end=-1").startswith("--set time.end=-1: time.end: ")
    assert complaint(example("flow"), "time.end=-1", "time={end: -2}").startswith("--set time={end: -2}: time.end: ")
    assert complaint(example("flow"), "time={end: -2}", "time.points=3").startswith("--set time={end: -2}: time.end: ")


def test_a_good_override_is_not_blamed_for_the_file(example, complaint):
    text = example("flow", ("diagonal: 3", "diagonal: 1"))
    assert complaint(text, "seed=3").startswith("s.yaml:7:3: kernel: the order")


def test_what_is_missing_from_an_overridden_mapping_is_missing_there(example, complaint):
    text = Path(__file__).parent / "examples" / "residuals.yaml"
    message = complaint(text.read_text(encoding="utf-8"), "problem={classes: 3}")
    assert message.startswith("--set problem={classes: 3}: problem.samples_per_class: missing key")


@pytest.mark.parametrize("text", ["a", "a.b", "a[0]", "a[0][12].b-c[3]"])
def test_a_path_is_read_as_it_is_shown(text):
    assert dotted(parse_path(text)) == text
