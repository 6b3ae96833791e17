"""The tables of a scenario's keys on the reference page, from the schema itself, made when the site is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ntkflow.scenario.shape import Shape, scenario_shape

MARK = "<!-- the keys of every kind -->"


def on_page_markdown(markdown: str, **others: Any) -> str:
    """Puts the tables where the mark is; mkdocs calls this for every page."""
    return markdown.replace(MARK, tables()) if MARK in markdown else markdown


def tables() -> str:
    """A section with a table for every kind of scenario."""
    sections = []
    for kind, shape in scenario_shape().variants.items():
        rows = [f"| {' | '.join(row)} |" for row in keys(shape, "", "")]
        head = f"## Kind `{kind}`\n\n{shape.description}\n\n| key | accepted | default | meaning |\n|---|---|---|---|\n"
        sections.append(head + "\n".join(rows))
    return "\n\n".join(sections)


def keys(shape: Shape, prefix: str, condition: str) -> Iterator[tuple[str, str, str, str]]:
    """Key, what is accepted, default and meaning of every value inside a mapping."""
    required = shape.rules.get("required", ())
    for name, value in shape.properties.items():
        path = f"{prefix}{name}"
        inner = value.item if value.item is not None and value.item.properties else value
        below = f"{path}[…]." if inner is not value else f"{path}."
        default = "needed" if name in required else shown(value.rules.get("default"))
        if inner.variants:
            tag = str(inner.discriminator)
            known = ", ".join(f"`{kind}`" for kind in inner.variants)
            first = next(iter(inner.variants.values())).properties[tag]
            yield f"`{below}{tag}`{condition}", f"one of {known}", "needed", first.description
            for kind, variant in inner.variants.items():
                rows = keys(variant, below, f" ({tag}: {kind})")
                yield from (row for row in rows if not row[0].startswith(f"`{below}{tag}`"))
        elif inner.properties:
            yield from keys(inner, below, condition)
        else:
            yield f"`{path}`{condition}", value.expected().replace("|", "\\|"), default, value.description


def shown(default: object) -> str:
    """A default as YAML writes it."""
    if isinstance(default, bool) or default is None:
        return {True: "`true`", False: "`false`", None: "none"}[default]
    if isinstance(default, list | tuple):
        return f"`[{', '.join(map(str, default))}]`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`" if default != "" else "empty"
