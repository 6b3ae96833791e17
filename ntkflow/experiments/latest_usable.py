"""The checkpoint from which a stopped run goes on."""

from __future__ import annotations

from typing import TypeVar

from ntkflow.errors import CheckpointError
from ntkflow.training import CheckpointSeries, Found

Tree = TypeVar("Tree")


def latest_usable(series: CheckpointSeries, like: Tree) -> Found[Tree]:
    """The newest checkpoint that is whole; without a tree where there are no checkpoints.

    Raises:
        CheckpointError: there are checkpoints, and none of them can be used.
    """
    found = series.latest(like)
    if found.tree is None and found.refused:
        raise CheckpointError(
            "no checkpoint of the stopped run can be used: " + "; ".join(found.refused),
            place=str(series.folder),
            remedy="--overwrite starts again from the beginning.",
        )
    return found
