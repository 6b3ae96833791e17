"""A scenario file, read and checked; and a checked scenario, written down completely."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.nodes import Node
from ruamel.yaml.representer import SafeRepresenter

from ntkflow.errors import ScenarioError
from ntkflow.scenario.document import Document, Unreadable, read_document
from ntkflow.scenario.messages import explain, nearest
from ntkflow.scenario.overrides import Rejected, apply_overrides
from ntkflow.scenario.places import Places
from ntkflow.scenario.plain_words import found
from ntkflow.scenario.problem import Place, Problem, scenario_error
from ntkflow.scenario.schema import SCENARIO, Scenario


@dataclass(frozen=True)
class LoadedScenario:
    """A checked scenario and where it came from.

    Attributes:
        scenario: what to do.
        path: the file, as the user named it; paths inside the scenario are relative to its folder.
        text: what the file holds, for the record.
        overrides: the ``--set`` texts that were applied on top.
    """

    scenario: Scenario
    path: Path
    text: str
    overrides: tuple[str, ...]


def load_scenario(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> LoadedScenario:
    """Reads a scenario file, applies the overrides, and checks the whole.

    Args:
        path: a YAML file.
        overrides: texts such as ``network.width=128``; the value is read as YAML, the later wins.

    Raises:
        ScenarioError: with every problem that was found, each with its place.
    """
    path = Path(path)
    text = _text(path)
    document = _document(text, str(path))
    if not isinstance(document.data, dict):
        raise _not_a_mapping(document, str(path))
    try:
        data, applied = apply_overrides(document.data, overrides)
    except Rejected as error:
        raise scenario_error(error.problems) from None
    try:
        scenario = SCENARIO.validate_python(data)
    except ValidationError as error:
        raise scenario_error(explain(error, data, Places(str(path), document, applied))) from None
    return LoadedScenario(scenario, path, text, tuple(overrides))


class _Representer(SafeRepresenter):
    """Writes text with line ends of any kind in double quotes; ruamel's choice of style loses the rarer ones."""

    def represent_text(self, text: str) -> Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Representer.add_representer(str, _Representer.represent_text)


def resolved_yaml(scenario: Scenario) -> str:
    """The scenario as YAML with every default written out; it loads again into an equal scenario."""
    writer = YAML(typ="safe", pure=True)
    writer.Representer = _Representer
    writer.default_flow_style = False
    writer.allow_unicode = True
    # The order of the schema, not of the alphabet. ruamel declares this attribute as None only.
    writer.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue]
    writer.width = 120
    text = io.StringIO()
    writer.dump(SCENARIO.dump_python(scenario, mode="json"), text)
    return text.getvalue()


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ScenarioError("there is no such file", place=str(path), remedy=_similar(path)) from None
    except IsADirectoryError:
        raise ScenarioError("this is a folder, not a scenario file", place=str(path)) from None
    except PermissionError:
        raise ScenarioError("you have no permission to read this file", place=str(path)) from None
    except OSError as error:
        raise ScenarioError(f"cannot be read: {error.strerror or error}", place=str(path)) from None
    except ValueError:
        raise ScenarioError("the file's name holds a character that no name can hold", place=repr(str(path))) from None
    try:
        # utf-8-sig: editors on Windows put a byte-order mark in front, which is not part of the text.
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"byte 0x{error.object[error.start]:02x} is not UTF-8 text"
        line = error.object[: error.start].count(b"\n") + 1
        raise ScenarioError(what, place=f"{path}:{line}", remedy="Save the file in the encoding UTF-8.") from None


def _similar(path: Path) -> str | None:
    try:
        names = [item.name for item in path.parent.iterdir() if item.suffix in (".yaml", ".yml")]
    except OSError:
        return None
    near = nearest(path.name, sorted(names))
    return f"Did you mean {path.with_name(near)}?" if near else None


def _document(text: str, name: str) -> Document:
    try:
        return read_document(text)
    except Unreadable as error:
        raise scenario_error(
            [
                Problem(
                    Place(0, fault.line, fault.column, f"{name}:{fault.line}:{fault.column}"), fault.path, fault.message
                )
                for fault in error.faults
            ]
        ) from None


def _not_a_mapping(document: Document, name: str) -> ScenarioError:
    if document.data is None:
        return ScenarioError(
            "the file is empty", place=name, remedy="A scenario begins with a line such as 'kind: flow'."
        )
    what = f"expected keys and values at the top level, such as 'kind: flow', found {found(document.data)}"
    return scenario_error([Problem(Places(name, document).of_value(()), "", what)])
