"""The mistakes and accidents that a user can do something about.

Everything raised on purpose for a user derives from :class:`UserError`: one message that says where, what, and what to
do about it. The command line prints it and leaves with ``exit_code``; it never shows a traceback for one of these.
"""

from __future__ import annotations


class UserError(Exception):
    """What went wrong, where, and the remedy, in one message.

    Args:
        what: one sentence, without the place and without the remedy.
        place: what the user knows it by: a file with line and column, a key, a training step.
        remedy: what to do next, as a full sentence.
    """

    exit_code = 2

    def __init__(self, what: str, *, place: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.place = place
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.what if self.place is None else f"{self.place}: {self.what}"
        return text if self.remedy is None else f"{text}\n  {self.remedy}"


class ScenarioError(UserError):
    """A scenario that cannot be read, or asks for something that does not exist."""


class DataError(UserError):
    """Data that are missing, damaged, of the wrong shape, or not finite."""


class CheckpointError(UserError):
    """A network's file that cannot be read or written, is damaged, or holds another network."""


class ResultFolderError(UserError):
    """A result folder that cannot be written, would be overwritten, or cannot be read."""


class DivergenceError(UserError):
    """A training run whose loss left the finite numbers."""


class SolverError(UserError):
    """A differential equation that the chosen solver gave up on."""


class InterruptedRun(UserError):
    """A run stopped by the user (Ctrl-C) before its result was complete."""

    exit_code = 130
