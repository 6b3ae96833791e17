"""Files that are no YAML, no UTF-8, no file, or YAML that a scenario does not need."""

from __future__ import annotations

from pathlib import Path

import pytest

from ntkflow.errors import ScenarioError
from ntkflow.scenario import FlowScenario, load_scenario
from ntkflow.scenario.document import Unreadable, read_document

EMPTY = "s.yaml: the file is empty\n  A scenario begins with a line such as 'kind: flow'."
OUT_OF_PLACE = (
    "a ':' is out of place: check the indentation and the space after each ':', and put text with ': ' in quotes"
)
NO_CONTINUATION = (
    "this does not continue the lines above: check the indentation, the '-' of lists, and quotes inside quotes"
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("", EMPTY, id="empty"),
        pytest.param("\n  \n", EMPTY, id="blank"),
        pytest.param("# nothing yet\n", EMPTY, id="comments only"),
        pytest.param("---\n", EMPTY, id="empty document"),
        pytest.param(
            "\n- kind: flow\n",
            "s.yaml:2:1: expected keys and values at the top level, such as 'kind: flow', found a list of 1 item",
            id="list",
        ),
        pytest.param(
            "kind flow",
            "s.yaml:1:1: expected keys and values at the top level, such as 'kind: flow', found the text 'kind flow'",
            id="text",
        ),
        pytest.param(
            "kind: flow\ntime:\n\tend: 1\n",
            "s.yaml:3:1: a tab stands here; YAML is indented by spaces only",
            id="tab",
        ),
        pytest.param("kind: flow\n name: x\n", f"s.yaml:2:6: {OUT_OF_PLACE}", id="indented too far"),
        pytest.param("name: my: scenario\n", f"s.yaml:1:9: {OUT_OF_PLACE}", id="colon in text"),
        pytest.param("  kind: flow\nname: x\n", f"s.yaml:2:1: {NO_CONTINUATION}", id="indented too little"),
        pytest.param("name: 'it's'\n", f"s.yaml:1:11: {NO_CONTINUATION}", id="quote inside quotes"),
        pytest.param(
            "kind: flow\nname\nseed: 3\n",
            "s.yaml:2:1: this line is no 'key: value'; write a ':' and a space after the key (noticed in line 3)",
            id="no colon",
        ),
        pytest.param(
            "a:\n  - [1, 2\nb: 3\n",
            "s.yaml:2:5: what was opened here is not closed by ']', or a ',' is missing (noticed in line 3)",
            id="open bracket",
        ),
        pytest.param(
            "a: {b: 1\n",
            "s.yaml:1:4: what was opened here is not closed by '}', or a ',' is missing (noticed in line 2)",
            id="open brace",
        ),
        pytest.param(
            'a: "b\n', "s.yaml:1:4: the quote opened here is never closed (noticed in line 2)", id="open quote"
        ),
        pytest.param("a: %b\n", "s.yaml:1:4: a value cannot begin with '%'; put it in quotes", id="percent sign"),
        pytest.param("a: =\n", "s.yaml:1:4: a: a single '=' needs quotes in YAML: '='", id="equals sign"),
        pytest.param(
            'a: "C:\\data"\n',
            "s.yaml:1:8: a backslash before 'd' means nothing in double quotes; use single quotes",
            id="backslash",
        ),
        pytest.param(
            "kind: flow\n---\nkind: flow\n",
            "s.yaml:2:1: a second document begins here; a scenario file holds exactly one",
            id="two documents",
        ),
        pytest.param(
            "kind: flow\ntime:\n  end: 1\n  end: 2\nkind: flow\n",
            "s.yaml:4:3: time.end: this key is given twice, first in line 3\n"
            "s.yaml:5:1: kind: this key is given twice, first in line 1",
            id="duplicate keys",
        ),
        pytest.param(
            "a: - b\n",
            "s.yaml:1:4: a '-' is out of place: begin each list item on a line of its own",
            id="list item behind a key",
        ),
        pytest.param("a: [1, , 2]\n", "s.yaml:1:8: a value is missing before ','", id="two commas"),
        pytest.param("a: * b\n", "s.yaml:1:4: text that begins with '*', '&', '!' or '%' needs quotes", id="asterisk"),
        pytest.param("a: *b'c\n", "s.yaml:1:4: the alias *b'c has no anchor &b'c above it", id="quote in an alias"),
        pytest.param(
            "a: |x\n",
            "s.yaml:1:5: not valid YAML: expected chomping or indentation indicators, but found 'x'",
            id="anything else",
        ),
        pytest.param("a: *b\n", "s.yaml:1:4: the alias *b has no anchor &b above it", id="unknown alias"),
        pytest.param(
            "a:\n  - &b {c: [*b]}\n",
            "s.yaml:2:5: a[0].c[0]: the alias *b stands inside the value that &b names",
            id="recursive alias",
        ),
        pytest.param(
            "a: &b {<<: *b}\n",
            "s.yaml:1:4: a: the alias *b stands inside the value that &b names",
            id="recursive merge",
        ),
        pytest.param(
            "<<: 3\n", "s.yaml:1:5: '<<' needs an alias of a mapping, as in '<<: *defaults'", id="merge of a number"
        ),
        pytest.param(
            "a: !!set {x, y}\n",
            "s.yaml:1:4: a: the YAML type !!set is not used in scenarios; leave it out",
            id="standard tag",
        ),
        pytest.param(
            "a:\n  b: !mine 3\n",
            "s.yaml:2:6: a.b: the YAML type !mine is not used in scenarios; leave it out",
            id="own tag",
        ),
        pytest.param(
            "a: !!python/object:os.system {}\n",
            "s.yaml:1:4: a: the YAML type !!python/object:os.system is not used in scenarios; leave it out",
            id="code in a tag",
        ),
        pytest.param(
            "a: 2026-13-01\n",
            "s.yaml:1:4: a: '2026-13-01' cannot be read as a date; put it in quotes if it is text",
            id="impossible date",
        ),
        pytest.param(
            "a: !!int x\n",
            "s.yaml:1:4: a: 'x' cannot be read as a whole number; put it in quotes if it is text",
            id="impossible number",
        ),
        pytest.param(
            "a: !!bool x\n",
            "s.yaml:1:4: a: 'x' cannot be read as true or false; put it in quotes if it is text",
            id="impossible truth value",
        ),
        pytest.param(
            "1: 2\n", "s.yaml:1:1: a key must be text, found a whole number ('1'); put it in quotes", id="number as key"
        ),
        pytest.param("? [a, b]\n: 2\n", "s.yaml:1:3: a key must be text, found a list or a mapping", id="list as key"),
        pytest.param(
            'name: "\\ud800"\n',
            "s.yaml:1:7: name: half of a surrogate pair (\\ud800 to \\udfff) is not a character",
            id="surrogate",
        ),
        pytest.param(
            "kind: flow\nname: a\x07b\n",
            "s.yaml:2:8: the character U+0007 is not allowed in YAML",
            id="control character",
        ),
        pytest.param("\x00", "s.yaml:1:1: the character U+0000 is not allowed in YAML", id="null character"),
        pytest.param("a: " + "[" * 5000, "s.yaml:1:53: nested too deeply for a scenario", id="deep nesting"),
        pytest.param(
            b"kind: flow\nname: caf\xe9\n",
            "s.yaml:2: byte 0xe9 is not UTF-8 text\n  Save the file in the encoding UTF-8.",
            id="Latin-1",
        ),
        pytest.param(
            "kind: flow".encode("utf-16"),
            "s.yaml:1: byte 0xff is not UTF-8 text\n  Save the file in the encoding UTF-8.",
            id="UTF-16",
        ),
    ],
)
def test_unreadable_content(content, expected, complaint):
    assert complaint(content) == expected


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1e-8", {"a": 1e-8}),
        ("a: 1E5", {"a": 1e5}),
        ("a: yes", {"a": "yes"}),
        ("a: 010", {"a": 10}),
        ("a: {b, c: 1}", {"a": {"b": None, "c": 1}}),
        ("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
        ("", None),
    ],
)
def test_values_that_readers_disagree_about(text, data):
    value = read_document(text).data
    assert value == data
    assert not isinstance(data, dict) or type(value["a"]) is type(data["a"])  # pyright: ignore[reportIndexIssue]


def test_a_reused_anchor_is_no_reason_to_warn(recwarn):
    read_document("a: &x 1\nb: &x 2\n")
    assert not recwarn.list


def test_a_bomb_of_aliases_is_inspected_once():
    levels = "\n".join(f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 30))
    data = read_document(f"a0: &a0 [1]\n{levels}\n").data
    assert isinstance(data, dict)
    assert len(data) == 30


def test_find_leads_to_keys_and_values_and_stops_where_the_document_ends():
    document = read_document("# comment\na:\n  b: [10, {c: 3}]\nd: &m\n  e: 1\nf:\n  <<: *m\n  g:\n")

    def at(*path):
        found = document.find(path)
        return found.depth, (found.key_line, found.key_column), (found.line, found.column)

    assert at() == (0, (2, 1), (2, 1))
    assert at("a") == (1, (2, 1), (3, 3))
    assert at("a", "b") == (2, (3, 3), (3, 6))
    assert at("a", "b", 1, "c") == (4, (3, 12), (3, 15))
    assert at("a", "b", 2) == (2, (3, 3), (3, 6))
    assert at("a", "z", "y") == (1, (2, 1), (3, 3))
    assert at("f", "e") == (2, (5, 3), (5, 6))
    assert at("f", "g") == (2, (8, 3), (8, 3))


def test_own_keys_win_over_merged_ones_in_positions_as_in_values():
    document = read_document("a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc:\n  <<: [*a, *b]\nd:\n  <<: *b\n  x: 4\n")
    assert document.data == {"a": {"x": 1}, "b": {"x": 2, "y": 3}, "c": {"x": 1, "y": 3}, "d": {"x": 4, "y": 3}}
    assert document.find(("c", "x")).line == 1
    assert document.find(("c", "y")).line == 2
    assert document.find(("d", "x")).line == 7


def test_every_fault_that_does_not_stop_the_reader_is_reported():
    with pytest.raises(Unreadable) as caught:
        read_document("a: !x 1\nb: {1: 2, c: 2026-02-30}\nb: 3\n")
    assert [(fault.line, fault.column, fault.path) for fault in caught.value.faults] == [
        (1, 4, "a"),
        (2, 5, "b"),
        (2, 14, "b.c"),
        (3, 1, "b"),
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path, example):
    file = tmp_path / "s.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + example("flow").replace("\n", "\r\n").encode())
    loaded = load_scenario(file)
    assert isinstance(loaded.scenario, FlowScenario)
    assert loaded.text.startswith("# Three")


def test_a_byte_order_mark_does_not_move_columns(complaint):
    assert complaint(b"\xef\xbb\xbfkind: x").startswith("s.yaml:1:7: kind: ")


def test_a_crash_of_the_yaml_library_is_no_traceback(complaint, monkeypatch):
    def crash(*_):
        raise IndexError("string index out of range")

    monkeypatch.setattr("ruamel.yaml.composer.Composer.get_single_node", crash)
    assert complaint("kind: flow") == "s.yaml:1:1: not valid YAML (IndexError while reading it)"


def _message(path: object) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)  # pyright: ignore[reportArgumentType]
    return str(caught.value)


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits.yaml").write_text("", encoding="utf-8")
    Path("digist.yaml~").write_text("", encoding="utf-8")
    assert _message("digist.yaml") == "digist.yaml: there is no such file\n  Did you mean digits.yaml?"
    assert _message("nothing like it") == "nothing like it: there is no such file"
    assert _message("no folder/digits.yaml") == "no folder/digits.yaml: there is no such file"
    assert _message("digits.yaml/x.yaml") == "digits.yaml/x.yaml: there is no such file"


def test_a_folder(tmp_path):
    assert _message(tmp_path) == f"{tmp_path}: this is a folder, not a scenario file"


def test_no_permission(tmp_path, monkeypatch):
    # The superuser, as whom tests often run, may read everything.
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert _message("s.yaml") == "s.yaml: you have no permission to read this file"


def test_other_accidents_of_the_file_system(monkeypatch):
    assert _message("a\0b") == "'a\\x00b': the file's name holds a character that no name can hold"
    assert _message("x" * 300).endswith("x: cannot be read: File name too long")
