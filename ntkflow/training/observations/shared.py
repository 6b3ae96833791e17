"""What several observations of one moment need: measured once, and timed on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TypeVar

Found = TypeVar("Found")

SHARED_WORK = ("forward_passes", "kernels")
"""The kinds of shared work, in the order in which costs list them."""


class Shared:
    """Results by name, and the wall seconds of each kind of work."""

    def __init__(self) -> None:
        self._found: dict[Hashable, object] = {}
        self.seconds: dict[str, float] = dict.fromkeys(SHARED_WORK, 0.0)

    def get(self, work: str, key: Hashable, make: Callable[[], Found]) -> Found:
        """``make()`` at the first call with this key, what it gave at the later ones."""
        place = (work, key)
        if place not in self._found:
            others, started = self.total(), time.perf_counter()
            self._found[place] = make()
            # What it needed of other shared work was counted there.
            self.seconds[work] += time.perf_counter() - started - (self.total() - others)
        return self._found[place]  # pyright: ignore[reportReturnType]: the key says what it is

    def total(self) -> float:
        """Seconds of all kinds of work."""
        return sum(self.seconds.values())
