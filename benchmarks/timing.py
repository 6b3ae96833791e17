"""Side-by-side timing: everything that is compared runs in one process, in turns, and is quoted as a ratio."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each repetition, on the clock and on all cores together."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Median on the clock."""
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        """Median over all cores."""
        return statistics.median(self.cpu)

    def __str__(self) -> str:
        spread = "" if len(self.wall) < 3 else f" ({min(self.wall):.3g} to {max(self.wall):.3g})"
        return f"{self.seconds:.3g} s{spread}"


def in_turns(runs: Mapping[str, Callable[[], Any]], *, repeats: int, warm: bool = True) -> dict[str, Timing]:
    """Time each of the runs ``repeats`` times, alternating, after one run of each that compiles and is not counted."""
    if warm:
        for run in runs.values():
            jax.block_until_ready(run())
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            clock, work = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            wall[name].append(time.perf_counter() - clock)
            cpu[name].append(time.process_time() - work)
    return {name: Timing(tuple(wall[name]), tuple(cpu[name])) for name in runs}
