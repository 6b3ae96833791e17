"""A memory budget: what may be asked for, and the largest parts of a computation that keep to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Parts = TypeVar("Parts")

# Programs that are compiled to be measured, before the smallest parts are taken.
_TRIES = 8


class MemoryBudgetError(ValueError):
    """A budget that not even the smallest parts keep to."""


def checked_budget(memory: Any) -> int:
    """The budget in whole bytes.

    Raises:
        ValueError: anything but a positive number.
    """
    if isinstance(memory, bool) or not isinstance(memory, int | float) or not math.isfinite(memory) or memory < 1:
        raise ValueError(f"memory is a number of bytes, as 2 * 1024**3, not {memory!r}")
    return int(memory)


def largest_that_fits(
    choices: Sequence[Parts],
    *,
    numbers: Callable[[Parts], float],
    needs: Callable[[Parts], int],
    memory: int,
    itemsize: int,
) -> tuple[Parts | None, int]:
    """The first choice whose compiled programs keep to the budget, and the bytes that they hold.

    A rough count says where to look; what the compiler says decides, and corrects the count. Where none of eight
    choices keeps to the budget, the last one has to.

    Args:
        choices: in the order of preference, the smallest parts last.
        numbers: roughly how many numbers a choice holds.
        needs: bytes that its programs hold.
        memory: budget in bytes.
        itemsize: bytes a number.

    Returns:
        The choice and its bytes, or ``None`` and the bytes of the last one.
    """
    allowed, at = memory / itemsize, 0
    for _ in range(_TRIES):
        found = next((i for i in range(at, len(choices) - 1) if numbers(choices[i]) <= allowed), None)
        if found is None:
            break
        taken = needs(choices[found])
        if taken <= memory:
            return choices[found], taken
        allowed = 0.9 * min(allowed, numbers(choices[found])) * memory / taken
        at = found + 1
    taken = needs(choices[-1])
    return (choices[-1] if taken <= memory else None), taken


def amount(size: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
