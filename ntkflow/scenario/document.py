"""YAML text read strictly: the values, and the position of each.

YAML allows more than a scenario needs. Whatever would make two readers disagree is refused here, with its position:
duplicate keys, keys that are not text, explicit types such as ``!!set``, aliases that contain themselves.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLWarning
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from ntkflow.scenario.paths import KeyPath, dotted
from ntkflow.scenario.plain_words import shortened

DEEPEST = 50
"""No scenario nests nearly so deep; the limit turns a crash of the recursive reader into a message."""

_PREFIX = "tag:yaml.org,2002:"
_CONTAINERS = {"map", "seq"}
_SCALARS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "timestamp": "a date",
}


@dataclass(frozen=True)
class Fault:
    """Something that makes the text unreadable as a scenario.

    Attributes:
        line: from 1.
        column: from 1.
        path: the key it concerns, as a user writes it; may be empty.
        message: what is wrong, in plain words.
    """

    line: int
    column: int
    path: str
    message: str


class Unreadable(Exception):
    """The text is not a document; never leaves this room."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.message for fault in faults))


@dataclass(frozen=True)
class Found:
    """How far a path leads into a document.

    Attributes:
        depth: how many items of the path exist.
        line: of the value at that depth, from 1.
        column: of the value at that depth, from 1.
        key_line: of the key that holds this value, from 1; of the value itself in a list and at the top.
        key_column: likewise.
    """

    depth: int
    line: int
    column: int
    key_line: int
    key_column: int


@dataclass(frozen=True)
class Document:
    """A YAML document.

    Attributes:
        data: plain values: dict, list, str, int, float, bool, date, None.
        root: the same as nodes with positions; None if the text is empty.
    """

    data: object
    root: Node | None

    def find(self, path: KeyPath) -> Found:
        """The position of the value at a path, or of the innermost value on the way that exists."""
        if self.root is None:
            return Found(0, 1, 1, 1, 1)
        key, value, depth = self.root, self.root, 0
        for item in path:
            step = _step(value, item)
            if step is None:
                break
            key, value = step
            depth += 1
        # ruamel puts the empty value of "width:" where the next key begins, which would be misleading.
        absent = isinstance(value, ScalarNode) and value.start_mark.index == value.end_mark.index
        return Found(depth, *_position(key if absent else value), *_position(key))


def read_document(text: str) -> Document:
    """Reads YAML 1.2 text.

    Raises:
        Unreadable: with every fault that can be told apart.
    """
    with warnings.catch_warnings():
        # A reused anchor is legal; ruamel would print a warning between our own lines.
        warnings.simplefilter("ignore", YAMLWarning)
        root = _attempt(text, "compose")
        if root is None:
            return Document(None, None)
        faults = tuple(_Inspection().faults(root, ()))
        if faults:
            raise Unreadable(*faults)
        return Document(_attempt(text, "load"), root)


def _attempt(text: str, action: Literal["compose", "load"]) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.max_depth = DEEPEST
    try:
        return getattr(reader, action)(text)
    except ReaderError as error:
        # Raised before any line is counted.
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        code = f"U+{ord(text[error.position]):04X}" if error.position < len(text) else "at the end"
        raise Unreadable(Fault(line, column, "", f"the character {code} is not allowed in YAML")) from None
    except MarkedYAMLError as error:
        raise Unreadable(_plain(error)) from None
    except Exception as error:  # the reader is not ours; whatever escapes it is no reason for a traceback
        raise Unreadable(Fault(1, 1, "", f"not valid YAML ({type(error).__name__} while reading it)")) from None


class _Inspection:
    """Looks once at every node for what ``YAML.load`` would refuse without a position, or accept silently."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._done: set[int] = set()
        self._scalars = YAML(typ="safe", pure=True).constructor

    def faults(self, node: Node, path: KeyPath) -> Iterator[Fault]:
        if id(node) in self._open:
            yield _fault(node, path, f"the alias *{node.anchor} stands inside the value that &{node.anchor} names")
            return
        if id(node) in self._done:
            return
        self._open.add(id(node))
        yield from self._type(node, path)
        if isinstance(node, MappingNode):
            yield from self._mapping(node, path)
        elif isinstance(node, SequenceNode):
            for index, item in enumerate(node.value):
                yield from self.faults(item, (*path, index))
        self._open.discard(id(node))
        self._done.add(id(node))

    def _type(self, node: Node, path: KeyPath) -> Iterator[Fault]:
        tag = str(node.tag).removeprefix(_PREFIX)
        if isinstance(node, ScalarNode) and tag in _SCALARS:
            yield from self._scalar(node, tag, path)
        elif isinstance(node, ScalarNode) and tag == "value":
            yield _fault(node, path, "a single '=' needs quotes in YAML: '='")
        elif isinstance(node, ScalarNode) or tag not in _CONTAINERS:
            name = f"!!{tag}" if str(node.tag).startswith(_PREFIX) else tag
            yield _fault(node, path, f"the YAML type {name} is not used in scenarios; leave it out")

    def _scalar(self, node: ScalarNode, tag: str, path: KeyPath) -> Iterator[Fault]:
        if tag == "str":
            if any("\ud800" <= letter <= "\udfff" for letter in node.value):
                yield _fault(node, path, "half of a surrogate pair (\\ud800 to \\udfff) is not a character")
            return
        try:
            self._scalars.construct_object(node)
        except Exception:  # ValueError, KeyError, OverflowError: whatever int(), float(), date() and dicts raise
            yield _fault(
                node,
                path,
                f"{shortened(node.value)!r} cannot be read as {_SCALARS[tag]}; put it in quotes if it is text",
            )

    def _mapping(self, node: MappingNode, path: KeyPath) -> Iterator[Fault]:
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                yield _fault(key, path, "a key must be text, found a list or a mapping")
                continue
            tag = str(key.tag).removeprefix(_PREFIX)
            if tag not in ("str", "merge"):
                kind = _SCALARS.get(tag, tag)
                yield _fault(
                    key, path, f"a key must be text, found {kind} ({shortened(key.value)!r}); put it in quotes"
                )
                continue
            if key.value in lines:
                message = f"this key is given twice, first in line {lines[key.value]}"
                yield _fault(key, (*path, key.value), message)
            lines.setdefault(key.value, _position(key)[0])
            if tag == "str":
                yield from self._scalar(key, tag, (*path, key.value))
            yield from self.faults(value, path if tag == "merge" else (*path, key.value))


def _fault(node: Node, path: KeyPath, message: str) -> Fault:
    return Fault(*_position(node), dotted(path), message)


def _position(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _step(node: Node, item: str | int) -> tuple[Node, Node] | None:
    """The key's node and the value's node one item further in."""
    if isinstance(node, SequenceNode):
        inside = isinstance(item, int) and 0 <= item < len(node.value)
        return (node.value[item], node.value[item]) if inside else None
    if not isinstance(node, MappingNode):
        return None
    merged: list[Node] = []
    for key, value in node.value:
        if isinstance(key, ScalarNode) and str(key.tag) == f"{_PREFIX}merge":
            merged = value.value if isinstance(value, SequenceNode) else [value]
        elif isinstance(key, ScalarNode) and key.value == item:
            return key, value
    # A key of its own wins over a merged one, and the first merged mapping over later ones.
    return next((step for other in merged if (step := _step(other, item)) is not None), None)


# What ruamel says (left, a regular expression) in words that do not need the YAML specification, and whether the
# mistake is where the construct began rather than where reading it failed.
_PLAIN: tuple[tuple[str, str, bool], ...] = (
    (r"found character '\\t' that cannot start any token", "a tab stands here; YAML is indented by spaces only", False),
    (r"found character (.+) that cannot start any token", r"a value cannot begin with \1; put it in quotes", False),
    (
        r"mapping values are not allowed here",
        "a ':' is out of place: check the indentation and the space after each ':', and put text with ': ' in quotes",
        False,
    ),
    (
        r"sequence entries are not allowed here",
        "a '-' is out of place: begin each list item on a line of its own",
        False,
    ),
    (r"expected the node content, but found (.+)", r"a value is missing before \1", False),
    (
        r"expected alphabetic or numeric character, but found .+",
        "text that begins with '*', '&', '!' or '%' needs quotes",
        True,
    ),
    (r"could not find expected ':'", "this line is no 'key: value'; write a ':' and a space after the key", True),
    (
        r"expected (<block end>|'<document start>'), but found .*",
        "this does not continue the lines above: check the indentation, the '-' of lists, and quotes inside quotes",
        False,
    ),
    (r"expected ',' or '(.)', but got .*", r"what was opened here is not closed by '\1', or a ',' is missing", True),
    (r"found unexpected end of stream", "the quote opened here is never closed", True),
    (r"found undefined alias ['\"](.+)['\"]", r"the alias *\1 has no anchor &\1 above it", False),
    (
        r"found unknown escape character (.+)",
        r"a backslash before \1 means nothing in double quotes; use single quotes",
        False,
    ),
    (r"but found another document", "a second document begins here; a scenario file holds exactly one", False),
    (r"maximum depth of data structure exceeded .*", "nested too deeply for a scenario", False),
    (
        r"expected a mapping or list of mappings for merging, but found .*",
        "'<<' needs an alias of a mapping, as in '<<: *defaults'",
        False,
    ),
)


def _plain(error: MarkedYAMLError) -> Fault:
    problem = str(error.problem or error.context or "unreadable")
    mark = error.problem_mark or error.context_mark
    for pattern, words, at_start in _PLAIN:
        match = re.fullmatch(pattern, problem)
        if match:
            problem = match.expand(words)
            if at_start and error.context_mark and mark and mark.line != error.context_mark.line:
                problem += f" (noticed in line {mark.line + 1})"
            mark = error.context_mark if at_start and error.context_mark else mark
            break
    else:
        problem = f"not valid YAML: {problem}"
    return Fault(mark.line + 1, mark.column + 1, "", problem) if mark else Fault(1, 1, "", problem)
