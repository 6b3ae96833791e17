"""At which epochs a run is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ntkflow.errors import ScenarioError

Spacing = Literal["log", "linear"]


def record_epochs(epochs: int, count: int, spacing: Spacing = "log") -> tuple[int, ...]:
    """``count`` different epochs from 0 to the last, both among them; all of them where there are not so many.

    Args:
        epochs: the last epoch.
        count: how many.
        spacing: "log": 0, 1 and then by one factor, as far as whole numbers allow, so that early epochs that would
            fall together follow each other; "linear": by one difference, rounded.

    Raises:
        ScenarioError: no epoch, or fewer than 2 to be recorded.
    """
    if epochs < 1:
        raise ScenarioError("there is no epoch to record", remedy="Train for at least 1.")
    if count < 2:
        raise ScenarioError(f"{count} recorded epochs are too few", remedy="Take at least 2: the first and the last.")
    if count > epochs:
        return tuple(range(epochs + 1))
    if spacing == "linear":
        return tuple(round(index * epochs / (count - 1)) for index in range(count))
    chosen = [0, 1] if count > 2 else [0]
    for left in range(count - len(chosen), 0, -1):
        last = chosen[-1]
        chosen.append(max(last + 1, round(last * (epochs / last) ** (1 / left))) if last and left > 1 else epochs)
    return tuple(chosen)


def listed_epochs(epochs: int, listed: Sequence[int]) -> tuple[int, ...]:
    """Epochs that were listed, in order and once each, with 0 and the last.

    Raises:
        ScenarioError: an epoch that the run does not reach.
    """
    outside = [epoch for epoch in listed if not 0 <= epoch <= epochs]
    if outside:
        raise ScenarioError(
            f"epoch {outside[0]} is not between 0 and the last epoch, {epochs}",
            remedy="Take it off the list of recorded epochs, or train longer.",
        )
    return tuple(sorted({0, epochs, *listed}))
