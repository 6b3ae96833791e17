"""``--set network.width=128``: values that replace those of the file before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ntkflow.scenario.document import Unreadable, read_document
from ntkflow.scenario.paths import KeyPath, dotted, parse_path
from ntkflow.scenario.plain_words import found, shortened
from ntkflow.scenario.problem import Place, Problem


@dataclass(frozen=True)
class Override:
    """One value that replaces another.

    Attributes:
        place: what messages call it.
        path: where the value goes; indices of lists are numbers.
        value: the value, read as YAML.
    """

    place: Place
    path: KeyPath
    value: object


class Rejected(Exception):
    """Overrides that cannot be read or do not fit the file; never leaves this room."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(str(problem) for problem in problems))


def apply_overrides(data: dict, texts: Sequence[str]) -> tuple[dict, tuple[Override, ...]]:
    """The scenario's mapping with the values of ``--set`` in it, the later winning, and where each of them went.

    The mapping given is left as it is. Mappings on the way to a new value are made; lists are never extended.

    Raises:
        Rejected: with a problem for every text that cannot be applied.
    """
    applied: list[Override] = []
    problems: list[Problem] = []
    for number, text in enumerate(texts, start=1):
        try:
            override = _read(text, number)
            path, data = _replaced_in_mapping(data, override, 0)
        except Rejected as error:
            problems.extend(error.problems)
            continue
        applied.append(Override(override.place, path, override.value))
    if problems:
        raise Rejected(*problems)
    return data, tuple(applied)


def _read(text: str, number: int) -> Override:
    shown = text if len(text) <= 100 else f"{text[:97]}..."
    place = Place(number, 0, 0, f"--set {shown if shown.isprintable() else repr(shown)}")
    key, equals, value = text.partition("=")
    if not equals:
        raise Rejected(Problem(place, "", "no '=' in it; write it as key=value, for instance network.width=128"))
    try:
        path = parse_path(key.strip())
    except ValueError as error:
        raise Rejected(Problem(place, "", str(error))) from None
    try:
        return Override(place, path, read_document(value).data)
    except Unreadable as error:
        fault = error.faults[0]
        raise Rejected(Problem(place, dotted(path), f"the value cannot be read: {fault.message}")) from None


def _replaced(data: object, override: Override, depth: int) -> tuple[KeyPath, object]:
    """The path with indices as numbers, and a copy of the data in which the value at the path is new.

    Only the containers on the way are copied: an anchor's mapping may stand in several places of the file, and only
    the place named is meant.
    """
    path = override.path
    if depth == len(path):
        return path, override.value
    item = path[depth]
    if isinstance(data, list):
        index = _index(item, data, override, depth)
        path, inner = _replaced(data[index], override, depth + 1)
        return (*path[:depth], index, *path[depth + 1 :]), [*data[:index], inner, *data[index + 1 :]]
    if isinstance(data, dict) or (data is None and not _is_index(item)):
        return _replaced_in_mapping(data or {}, override, depth)
    if _is_index(item):
        raise Rejected(_no_list(data, override, depth))
    what = f"no key can follow here, found {found(data)}"
    raise Rejected(Problem(override.place, dotted(path[:depth]), what))


def _replaced_in_mapping(data: dict, override: Override, depth: int) -> tuple[KeyPath, dict]:
    item = override.path[depth]
    if isinstance(item, int):
        raise Rejected(_no_list(data, override, depth))
    path, inner = _replaced(data.get(item), override, depth + 1)
    return path, {**data, item: inner}


def _is_index(item: str | int) -> bool:
    return isinstance(item, int) or (item.isascii() and item.isdecimal())


def _index(item: str | int, data: list, override: Override, depth: int) -> int:
    before = dotted(override.path[:depth])
    if not _is_index(item):
        what = f"{shortened(str(item))!r} is no index of {found(data)}; write {before}[0]"
        raise Rejected(Problem(override.place, before, what))
    # The digits are counted first: int() refuses thousands of them.
    index = int(item) if len(str(item)) < 10 else len(data)
    if index >= len(data):
        inside = f"the last is {before}[{len(data) - 1}]" if data else "it is empty"
        what = f"index out of range: {before} is {found(data)}, {inside}"
        raise Rejected(Problem(override.place, dotted(override.path[: depth + 1]), what))
    return index


def _no_list(data: object, override: Override, depth: int) -> Problem:
    before = dotted(override.path[:depth])
    if depth == 0:
        what = "a scenario begins with a key, not with an index"
    elif data is None:
        what = f"index out of range: the file has no list {before}; give all of it, {before}=[...]"
    else:
        what = f"an index needs a list, found {found(data)}"
    return Problem(override.place, before, what)
