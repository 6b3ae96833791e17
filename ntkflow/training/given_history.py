"""The history of a run of which only networks are left."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ntkflow.kernels import split_eigenspaces
from ntkflow.networks import as_trained
from ntkflow.progress import Progress, silent
from ntkflow.training.history import Checkpoint, History
from ntkflow.training.problem import Problem, residual_matrix


def network_history(
    moments: Sequence[Checkpoint], problem: Problem, *, seconds: float = float("nan"), progress: Progress = silent
) -> History:
    """The residuals of networks that were kept at several times, as a history with no records between them.

    With batch normalisation those under the statistics of all samples.

    Args:
        moments: at least two, rising in time, all of them with a step or none.
        problem: data and Z.
        seconds: what training took.
        progress: told from network to network.

    Raises:
        ValueError: fewer than two, times that do not increase, steps of some only, or a residual that is not finite.
    """
    times = np.array([item.time for item in moments], dtype=float)
    if len(moments) < 2 or not bool(np.all(np.diff(times) > 0)):
        raise ValueError("network_history: networks at two or more increasing times are needed")
    steps = [item.step for item in moments]
    if any(step is None for step in steps) and any(step is not None for step in steps):
        raise ValueError("network_history: steps of all networks are needed, or of none")
    residuals: list[np.ndarray] = []
    for index, item in enumerate(moments):
        progress("reading networks", index, len(moments))
        residuals.append(np.asarray(residual_matrix(problem, as_trained(item.network))))
        if not np.isfinite(residuals[-1]).all():
            raise ValueError(f"network_history: the logits of network {index} (t = {item.time:g}) are not finite")
    progress("reading networks", len(moments), len(moments))
    norms = [np.asarray(split_eigenspaces(jnp.asarray(one), problem.classes).norms()) for one in residuals]
    return History(
        norm_times=times,
        norms=np.stack(norms),
        times=times,
        steps=None if None in steps else np.array(steps, dtype=int),
        residuals=np.stack(residuals),
        checkpoints=tuple(moments[:-1]),
        final=moments[-1].network,
        seconds=seconds,
    )
