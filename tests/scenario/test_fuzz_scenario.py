"""Mangled files: whatever arrives, it is either a scenario or a ScenarioError."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ntkflow.errors import ScenarioError
from ntkflow.scenario import load_scenario, resolved_yaml
from ntkflow.scenario.document import read_document

EXAMPLES = [file.read_bytes() for file in sorted((Path(__file__).parent / "examples").glob("*.yaml"))]

# Pieces that YAML gives a meaning to do more harm than random bytes.
pieces = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [
            b"\t",
            b"\n",
            b"\n  ",
            b": ",
            b"- ",
            b"[",
            b"]",
            b"{",
            b"}",
            b"&a ",
            b"*a",
            b"!!int ",
            b"!x ",
            b"<<: ",
            b"? ",
            b"|\n",
            b">-\n",
            b"'",
            b'"',
            b"\\",
            b"#",
            b"%",
            b"@",
            b"---\n",
            b"...\n",
            b"%YAML 1.1\n---\n",
            b".nan",
            b"1e999",
            b"null",
            b"~",
            b"2026-99-99",
            b"0x",
            b"1" + 400 * b"0",
            b"\xef\xbb\xbf",
            b"\x00",
            b"\xff",
            b"\xc2\x85",
            b"=",
        ]
    ),
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), pieces), min_size=1, max_size=4)

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**600), 10**600),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.dates(),
    st.sampled_from(
        ["flow", "file", "random", "gradient_flow", "samples", "kind", "yes", "64", "1" + 400 * "0", ".inf", "*a"]
    ),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "end", "0", "x y"]), inner),
    max_leaves=5,
)


def _scenario_or_complaint(content: bytes, folder: Path, *overrides: str) -> None:
    file = folder / "mangled.yaml"
    file.write_bytes(content)
    complaint, scenario = "", None
    try:
        scenario = load_scenario(file, overrides).scenario
    except ScenarioError as error:
        complaint = str(error)
    if scenario is None:
        assert complaint.startswith((str(file), "--set "))
        assert not any(word in complaint for word in ("pydantic", "Input should", "Value error", "Traceback"))
    else:
        file.write_bytes(resolved_yaml(scenario).encode())
        assert load_scenario(file).scenario == scenario


@settings(max_examples=150, deadline=None)
@given(content=st.sampled_from(EXAMPLES), edits=edits)
def test_mangled_bytes(tmp_path_factory, content, edits):
    for where, length, piece in edits:
        start = int(where * len(content))
        content = content[:start] + piece + content[start + length :]
    _scenario_or_complaint(content, tmp_path_factory.getbasetemp())


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_arbitrary_bytes(tmp_path_factory, content):
    _scenario_or_complaint(content, tmp_path_factory.getbasetemp())


@settings(max_examples=60, deadline=None)
@given(content=st.sampled_from(EXAMPLES), choice=st.randoms(use_true_random=False), value=values)
def test_replaced_values(tmp_path_factory, content, choice, value):
    data = read_document(content.decode()).data
    assert isinstance(data, dict)
    container: dict | list = data
    key = choice.choice(list(data))
    while isinstance(container[key], dict | list) and container[key] and choice.random() < 0.7:
        container = container[key]
        key = choice.choice(list(container)) if isinstance(container, dict) else choice.randrange(len(container))
    container[key] = value
    folder = tmp_path_factory.getbasetemp()
    with (folder / "replaced.yaml").open("w", encoding="utf-8") as stream:
        YAML(typ="safe", pure=True).dump(data, stream)
    _scenario_or_complaint((folder / "replaced.yaml").read_bytes(), folder)


keys = st.sampled_from(
    ["time", "end", "cases", "[0]", "0", "initial", "kind", "solver", "", "x", "[9]", "name", "training"]
)
paths = st.lists(keys, min_size=1, max_size=4).map(".".join) | st.text(max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    content=st.sampled_from(EXAMPLES),
    overrides=st.lists(
        st.tuples(paths, st.sampled_from(["=", ""]), st.sampled_from(["1", "[1", "{}", "random"]) | st.text(max_size=8))
        .map("".join)
        .map(lambda text: text.encode(errors="replace").decode()),
        max_size=3,
    ),
)
def test_arbitrary_overrides(tmp_path_factory, content, overrides):
    _scenario_or_complaint(content, tmp_path_factory.getbasetemp(), *overrides)
