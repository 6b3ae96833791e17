"""Values of a YAML document in plain words, for error messages."""

from __future__ import annotations

import datetime
import math
import sys

LONGEST_TEXT = 40
"""Longer texts are cut in messages, so that a message stays readable."""


def found(value: object) -> str:
    """What a value is, with an article: ``the text 'fast'``, ``a list of 3 items``."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number(value)
        case str():
            return f"the text {shortened(value)!r}" if value else "an empty text"
        case list():
            return f"a list of {len(value)} {'item' if len(value) == 1 else 'items'}" if value else "an empty list"
        case dict():
            return f"a mapping with {keys([str(key) for key in value])}" if value else "an empty mapping"
        case datetime.date():
            return f"the date {value}"
        case _:
            return f"a {type(value).__name__}"


def keys(names: list[str]) -> str:
    """``the key a`` or ``the keys a, b, c``, cut after a few."""
    shown = [shortened(name) if name.isprintable() else repr(shortened(name)) for name in names[:6]]
    shown += ["..."] if len(names) > 6 else []
    return f"the key{'' if len(names) == 1 else 's'} {', '.join(shown)}"


def one_of(names: list[str]) -> str:
    """``'a'``, ``'a' or 'b'``, ``'a', 'b' or 'c'``."""
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _number(value: float) -> str:
    if isinstance(value, int):
        if abs(value) > sys.float_info.max:
            return "a number too large for double precision"
        return f"the number {value}" if abs(value) < 10**18 else f"the number {float(value):g}"
    if math.isnan(value):
        return ".nan (not a number)"
    if math.isinf(value):
        return "an infinite number"
    return f"the number {value!r}"


def shortened(text: str) -> str:
    """The text, cut if it is long."""
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."
