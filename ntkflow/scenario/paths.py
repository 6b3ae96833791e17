"""The path of a value inside a scenario, as a user writes it: ``training.snapshots[1]``."""

from __future__ import annotations

import re

from ntkflow.scenario.plain_words import shortened

KeyPath = tuple[str | int, ...]
"""Keys of mappings (text) and indices of lists (numbers), from the top of the scenario inwards."""

_PLAIN = re.compile(r"[\w-]{1,60}")
_SEGMENT = re.compile(r"(?P<key>[^\[\]]*)(?P<indices>(?:\[[0-9]{1,9}\])*)")


def dotted(path: KeyPath) -> str:
    """The path in the form that error messages show and ``--set`` accepts."""
    text = ""
    for item in path:
        if isinstance(item, int):
            text += f"[{item}]"
        elif not _PLAIN.fullmatch(item):
            # A mistyped key may hold anything, line breaks included, and a message is one line.
            text += f"[{shortened(item)!r}]"
        else:
            text += f".{item}" if text else item
    return text


def parse_path(text: str) -> KeyPath:
    """The path that a user wrote; an index may stand in brackets or between dots.

    Whether ``0`` in ``cases.0.name`` is an index or a key depends on what it is applied to, so it stays text here.

    Raises:
        ValueError: the text is not a path; the message says why.
    """
    if not text:
        raise ValueError("no key is named before the '='")
    path: list[str | int] = []
    for segment in text.split("."):
        match = _SEGMENT.fullmatch(segment)
        if match is None:
            raise ValueError(
                f"{shortened(segment)!r} is not a key with indices; an index is a whole number from 0, as in cases[0]"
            )
        key, indices = match["key"].strip(), re.findall("[0-9]+", match["indices"])
        if key:
            path.append(key)
        elif path or not indices:
            raise ValueError(f"a key is empty in {shortened(text)!r}")
        path.extend(int(index) for index in indices)
    return tuple(path)
