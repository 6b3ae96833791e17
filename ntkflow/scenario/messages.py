"""Failed validation in the user's words: one problem for each mistake, at the place where it was written."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ntkflow.scenario.document import Unreadable, read_document
from ntkflow.scenario.paths import KeyPath, dotted
from ntkflow.scenario.places import Places
from ntkflow.scenario.plain_words import found, shortened
from ntkflow.scenario.problem import Place, Problem
from ntkflow.scenario.shape import Shape, Target, follow


def explain(error: ValidationError, data: object, places: Places) -> list[Problem]:
    """The problems behind a validation error.

    Args:
        error: what pydantic raised for the data.
        data: the mapping that was validated, overrides included.
        places: where its values were written.
    """
    details = error.errors(include_url=False)
    targets = [follow(detail["loc"]) for detail in details]
    problems = []
    for detail, target in zip(details, targets, strict=True):
        # A list with a wrong item counts as too short as well, since wrong items are not counted.
        if detail["type"] == "too_short" and any(_inside(other.path, target.path) for other in targets):
            continue
        problems.append(_problem(detail, target, data, places))
    # The branches of a union each complain about the same value, in the same words by now.
    return list(dict.fromkeys(problems))


def _problem(detail: Mapping[str, Any], target: Target, data: object, places: Places) -> Problem:
    path, shape, parent = target.path, target.shape, target.parent
    match detail["type"]:
        case "value_error":
            return Problem(places.of_whole(path), dotted(path), str(detail["ctx"]["error"]))
        case "extra_forbidden" if parent:
            return _unknown_key(path, parent, places.of_key(path))
        case "missing" if shape:
            return _missing_key(path, shape, None, places.of_value(path[:-1]))
        case "union_tag_not_found" if shape and shape.discriminator:
            path = (*path, shape.discriminator)
            return _missing_key(path, _kind(shape), _value(data, path[:-1]), places.of_value(path[:-1]))
        case "union_tag_invalid" if shape and shape.discriminator:
            path = (*path, shape.discriminator)
            return _wrong_value(path, _kind(shape), _value(data, path), places.of_value(path))
        case _ if shape:
            return _wrong_value(path, shape, _value(data, path), places.of_value(path))
        case _:
            return Problem(places.of_value(path), dotted(path), f"not accepted: {found(_value(data, path))}")


def _unknown_key(path: KeyPath, parent: Shape, place: Place) -> Problem:
    known = list(parent.properties)
    near = nearest(str(path[-1]), known)
    where = f"known for {parent.variant[0]} {parent.variant[1]!r}" if parent.variant else "known here"
    expected = f"{where}: {', '.join(known)}"
    hint = f"; did you mean {near!r}?" if near else ""
    return Problem(place, dotted(path), f"unknown key{hint} ({expected})", expected, near)


def _missing_key(path: KeyPath, shape: Shape, around: object, place: Place) -> Problem:
    expected = shape.expected()
    near = nearest(str(path[-1]), [str(key) for key in around]) if isinstance(around, dict) else None
    hint = f"; is {near!r} meant to be it?" if near else ""
    return Problem(place, dotted(path), f"missing key, expected {expected} ({shape.description}){hint}", expected, near)


def _wrong_value(path: KeyPath, shape: Shape, value: object, place: Place) -> Problem:
    expected = shape.expected(value)
    suggestion = _suggestion(shape, value)
    hint = f"; {suggestion}" if suggestion else ""
    return Problem(place, dotted(path), f"expected {expected}, found {found(value)}{hint}", expected, suggestion)


def _suggestion(shape: Shape, value: object) -> str | None:
    if isinstance(value, str) and (near := nearest(value, shape.choices)):
        return f"did you mean {near!r}?"
    if isinstance(value, str) and (meant := _unquoted(shape, value)):
        return f"did you mean {meant}?"
    if isinstance(value, float) and value.is_integer() and shape.rules.get("type") == "integer":
        return f"did you mean {value:.0f}?"
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if plain and shape.accepts("array"):
        return "put it in brackets to make a list of one item"
    if not isinstance(value, str | list | dict) and shape.accepts("string") and not shape.choices:
        return "write '' for an empty text" if value is None else "put it in quotes to make it text"
    return None


def _unquoted(shape: Shape, text: str) -> str | None:
    """What a text would be if YAML took it as something else than text, if that is what is accepted here."""
    try:
        value = read_document(text).data
    except Unreadable:
        return None
    if isinstance(value, bool):
        return f"{shortened(text.strip())} without quotes" if shape.accepts("boolean") else None
    whole = isinstance(value, int) and shape.accepts("integer")
    if whole or (isinstance(value, float) and math.isfinite(value) and shape.accepts("number")):
        return f"{shortened(text.strip())} without quotes"
    if shape.accepts("boolean"):
        # Words that were truth values before YAML 1.2.
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower())
    return None


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant, if one is close."""
    by_lower = {other.lower(): other for other in reversed(known)}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def _kind(shape: Shape) -> Shape:
    """The rules for the discriminator itself: one of the names of the kinds."""
    first = next(iter(shape.variants.values())).properties[str(shape.discriminator)]
    rules = {"enum": list(shape.variants), "type": "string", "description": first.description}
    return Shape(rules, shape.definitions)


def _value(data: object, path: KeyPath) -> object:
    for item in path:
        if isinstance(data, dict):
            data = data.get(item)
        elif isinstance(data, list) and isinstance(item, int) and item < len(data):
            data = data[item]
        else:
            return None
    return data


def _inside(path: KeyPath, around: KeyPath) -> bool:
    return len(path) > len(around) and path[: len(around)] == around
