"""What the schema allows at each place of a scenario, in plain words.

Read from the exported JSON Schema rather than from pydantic's own structures: that export is a public format, and the
same text that editors show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from ntkflow.scenario.common import MAX_COUNT
from ntkflow.scenario.paths import KeyPath
from ntkflow.scenario.plain_words import keys, one_of
from ntkflow.scenario.schema import SCENARIO


@dataclass(frozen=True)
class Shape:
    """The rules for one value.

    Attributes:
        rules: its JSON Schema, with the reference resolved and "or null" taken apart.
        definitions: what references point to.
        nullable: whether null is accepted as well.
        variant: for a mapping of one of several kinds, which kind: ``("method", "gradient_flow")``.
    """

    rules: Mapping[str, Any]
    definitions: Mapping[str, Any]
    nullable: bool = False
    variant: tuple[str, str] | None = None

    @classmethod
    def of(cls, rules: Mapping[str, Any], definitions: Mapping[str, Any]) -> Shape:
        """The shape for a JSON Schema as it was exported."""
        branches = [branch for branch in rules.get("anyOf", ()) if branch.get("type") != "null"]
        nullable = len(branches) < len(rules.get("anyOf", ()))
        if len(branches) == 1:
            rules = {**branches[0], **{key: value for key, value in rules.items() if key != "anyOf"}}
        while "$ref" in rules:
            own = {key: value for key, value in rules.items() if key != "$ref"}
            rules = {**definitions[rules["$ref"].rpartition("/")[2]], **own}
        return cls(rules, definitions, nullable)

    @property
    def description(self) -> str:
        """What the value means."""
        return self.rules.get("description", "")

    @cached_property
    def properties(self) -> dict[str, Shape]:
        """The keys of a mapping; empty for everything else."""
        return {name: self._sub(rules) for name, rules in self.rules.get("properties", {}).items()}

    @cached_property
    def item(self) -> Shape | None:
        """What every item of a list is; None for everything else."""
        return self._sub(self.rules["items"]) if "items" in self.rules else None

    @cached_property
    def alternatives(self) -> tuple[Shape, ...]:
        """For a value of one of several types, each of them; empty for everything else."""
        return tuple(self._sub(rules) for rules in self.rules.get("anyOf", ()) if rules.get("type") != "null")

    @property
    def discriminator(self) -> str | None:
        """For a mapping of one of several kinds, the key that says which."""
        return self.rules.get("discriminator", {}).get("propertyName")

    @cached_property
    def variants(self) -> dict[str, Shape]:
        """For a mapping of one of several kinds, each of them by the value of the discriminator."""
        found = {}
        for tag, reference in self.rules.get("discriminator", {}).get("mapping", {}).items():
            shape = self._sub({"$ref": reference})
            found[tag] = Shape(shape.rules, shape.definitions, variant=(str(self.discriminator), tag))
        return found

    @property
    def choices(self) -> list[str]:
        """The names among which a text is chosen; empty if any text or no text is accepted."""
        own = self.rules.get("enum", [self.rules["const"]] if "const" in self.rules else [])
        return [*own, *(name for other in self.alternatives for name in other.choices)]

    def accepts(self, kind: str) -> bool:
        """Whether values of a JSON type ("integer", "number", "string", ...) are accepted at all."""
        own = self.rules.get("type")
        return own == kind or (own, kind) == ("number", "integer") or any(s.accepts(kind) for s in self.alternatives)

    def expected(self, value: object = None) -> str:
        """What is accepted, in plain words.

        Args:
            value: what was found instead. Upper bounds that exist only to catch nonsense are left out unless it
                exceeds them.
        """
        words = self._expected(value)
        return f"{words}, or null" if self.nullable else words

    def _expected(self, value: object) -> str:
        if self.alternatives:
            return ", or ".join(shape.expected(value) for shape in self.alternatives)
        if self.choices:
            return one_of(self.choices)
        if self.variants:
            return f"a mapping with the key {self.discriminator} ({one_of(list(self.variants))})"
        match self.rules.get("type"):
            case "integer":
                return f"a whole number{self._bounds(value)}"
            case "number":
                return f"a number{self._bounds(value)}"
            case "boolean":
                return "true or false"
            case "array":
                return self._list()
            case "object":
                return f"a mapping with {keys(list(self.properties))}"
            case "string" if "pattern" in self.rules:
                return f"text ({self.rules.get('patternErrorMessage', 'of the form ' + self.rules['pattern'])})"
            case "string":
                return "text"
            case _:
                return "another value"

    def _bounds(self, value: object) -> str:
        bounds = {
            ">": self.rules.get("exclusiveMinimum"),
            ">=": self.rules.get("minimum"),
            "<": self.rules.get("exclusiveMaximum"),
            "<=": self.rules.get("maximum"),
        }
        top = bounds["<="]
        if top is not None and top >= MAX_COUNT and not (isinstance(value, int) and value > top):
            del bounds["<="]
        # Versions of pydantic differ in writing 0 or 0.0 here.
        named = [f"{sign} {bound:.15g}" for sign, bound in bounds.items() if bound is not None]
        return f" {' and '.join(named)}" if named else ""

    def _list(self) -> str:
        least = self.rules.get("minItems", 0)
        size = f" of at least {least} {'item' if least == 1 else 'items'}" if least else ""
        return f"a list{size}, each {self.item.expected()}" if self.item else f"a list{size}"

    def _sub(self, rules: Mapping[str, Any]) -> Shape:
        return Shape.of(rules, self.definitions)


@cache
def scenario_shape() -> Shape:
    """The rules for a whole scenario."""
    exported = SCENARIO.json_schema()
    return Shape.of(exported, exported["$defs"])


@dataclass(frozen=True)
class Target:
    """What the location in a validation error points at.

    Attributes:
        path: the path as the document has it.
        shape: the rules for the value there; None for an unknown key.
        parent: the rules for the mapping or list around it; None at the top.
    """

    path: KeyPath
    shape: Shape | None
    parent: Shape | None


def follow(location: Sequence[str | int]) -> Target:
    """Follows the ``loc`` of a pydantic error through the schema.

    Such a location also holds the names of kinds (``flow``) and of a union's branches (``constrained-float``), which
    are no keys of the document. A key may have the same name as a kind, so only the schema can tell them apart. At a
    value of several types the walk ends: the user wrote one value, whichever branch complains about it.
    """
    shape: Shape | None = scenario_shape()
    parent: Shape | None = None
    path: list[str | int] = []
    for item in location:
        if shape is None or shape.alternatives:
            break
        if shape.variants:
            shape = shape.variants.get(str(item))
            continue
        parent = shape
        shape = parent.item if isinstance(item, int) else parent.properties.get(item)
        path.append(item)
    return Target(tuple(path), shape, parent)
