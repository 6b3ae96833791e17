"""What is wrong with a scenario, and where: the records that every error of this room is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ntkflow.errors import ScenarioError


@dataclass(frozen=True, order=True)
class Place:
    """Where a value was written; ordered as a reader meets them: the file from its top, then each ``--set``.

    Attributes:
        source: 0 for the file, 1 for the first ``--set``, 2 for the second.
        line: from 1; 0 where lines mean nothing.
        column: from 1; 0 where columns mean nothing.
        text: what is printed, such as ``scenarios/digits.yaml:12:3`` or ``--set network.width=128``.
    """

    source: int
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Problem:
    """One mistake, printed as one line.

    Attributes:
        place: where it was written.
        path: the key as a user writes it, such as ``training.snapshots[1]``; empty for the scenario as a whole.
        message: what is wrong, what was expected, and what may have been meant, in one sentence.
        expected: what would have been accepted, if that can be said on its own.
        suggestion: what to write instead, if something close is known.
    """

    place: Place
    path: str
    message: str
    expected: str | None = None
    suggestion: str | None = None

    @property
    def what(self) -> str:
        """The line without the place."""
        return f"{self.path}: {self.message}" if self.path else self.message

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def scenario_error(problems: Sequence[Problem]) -> ScenarioError:
    """One error whose text holds every problem, a line each, sorted by position."""
    ordered = sorted(problems, key=lambda problem: problem.place)
    if len(ordered) == 1:
        return ScenarioError(ordered[0].what, place=str(ordered[0].place))
    return ScenarioError("\n".join(str(problem) for problem in ordered))
