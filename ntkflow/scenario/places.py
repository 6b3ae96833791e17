"""Where a value of the scenario was written: line and column of the file, or the ``--set`` that gave it."""

from __future__ import annotations

from dataclasses import dataclass

from ntkflow.scenario.document import Document
from ntkflow.scenario.overrides import Override
from ntkflow.scenario.paths import KeyPath
from ntkflow.scenario.problem import Place


@dataclass(frozen=True)
class Places:
    """Finds the place of a path.

    Attributes:
        file: the file's name, as the user gave it.
        document: what the file holds.
        overrides: what replaced parts of it, in the order in which it was applied.
    """

    file: str
    document: Document
    overrides: tuple[Override, ...] = ()

    def of_value(self, path: KeyPath) -> Place:
        """Where the value stands, or the innermost value around it if the file does not have it."""
        return self._overridden(path) or self._in_file(path, at_key=False)

    def of_key(self, path: KeyPath) -> Place:
        """Where the key stands that holds the value."""
        return self._overridden(path) or self._in_file(path, at_key=True)

    def of_whole(self, path: KeyPath) -> Place:
        """Where the value stands, and every ``--set`` that changed a part of it.

        For values that are each right and wrong together: the one to blame may be the one on the command line.
        """
        place = self.of_value(path)
        inside = [str(given.place) for given in self.overrides if given.path[: len(path)] == path]
        if place.source or not inside:
            return place
        return Place(place.source, place.line, place.column, f"{place} with {' '.join(inside)}")

    def _overridden(self, path: KeyPath) -> Place | None:
        for given in reversed(self.overrides):
            if path[: len(given.path)] == given.path:
                return given.place
        if self.document.find(path).depth < len(path):
            # Not in the file, so a mapping that was made on the way to an override's value.
            for given in reversed(self.overrides):
                if given.path[: len(path)] == path:
                    return given.place
        return None

    def _in_file(self, path: KeyPath, at_key: bool) -> Place:
        found = self.document.find(path)
        exact = found.depth == len(path)
        line, column = (found.key_line, found.key_column) if at_key and exact else (found.line, found.column)
        return Place(0, line, column, f"{self.file}:{line}:{column}")
