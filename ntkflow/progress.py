"""How long work says where it is: a callable that is told the stage, how much is done, and of how much."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, TextIO, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


@runtime_checkable
class Progress(Protocol):
    """Told from time to time; never called from inside compiled code."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        """``done`` of ``total`` of a stage is finished; a stage ends when they are equal."""
        ...


def silent(stage: str, done: float, total: float) -> None:
    """Say nothing: the default of the library."""


class PlainProgress:
    """A line when a stage first starts, when it ends, and every five seconds in between: for logs.

    Stages may take turns: each has the seconds that passed while it was the last one told.
    """

    def __init__(self, stream: TextIO, every: float = 5.0) -> None:
        self._stream = stream
        self._every = every
        self._stage: str | None = None
        self._seconds: dict[str, float] = {}
        self._since = self._last = 0.0

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Write a line if there is news."""
        now = time.monotonic()
        if self._stage is not None:
            self._seconds[self._stage] += now - self._since
        first = stage not in self._seconds
        self._stage, self._since = stage, now
        self._seconds.setdefault(stage, 0.0)
        if first:
            self._last = now
            if done < total:
                self._line(f"{stage} …")
                return
        if done >= total:
            self._line(f"{stage}: done in {self._seconds[stage]:.1f} s")
        elif now - self._last >= self._every:
            self._last = now
            self._line(f"{stage}: {100 * done / total:.0f} %")

    def _line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class BarProgress:
    """One bar a stage, on a terminal. A context manager: the bars are live inside."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Move the stage's bar."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)
