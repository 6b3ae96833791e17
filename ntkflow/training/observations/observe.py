"""All observations of one moment, and what each of them cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from ntkflow.errors import DivergenceError
from ntkflow.progress import Progress, silent
from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.shared import SHARED_WORK
from ntkflow.training.observations.variable import Variable

References = Mapping[str, Mapping[str, Float[np.ndarray, "..."]]]
"""By the name of the observation, then of the array."""


def observe(
    observations: Sequence[AbstractObservation],
    moment: Moment,
    references: References,
    progress: Progress = silent,
) -> tuple[dict[str, Arrays], dict[str, float]]:
    """What every observation measures of a moment, and the wall seconds of each kind of work.

    Args:
        observations: with names of their own.
        moment: the network.
        references: what :func:`references_of` gave of the first moment.
        progress: told from observation to observation.

    Returns:
        Arrays by observation and variable; seconds by the names of :func:`cost_names`, compilation included. Work
        that observations share, passes and kernels, is timed on its own and in none of theirs. Values are the same in a
        run that was resumed, seconds are not.

    Raises:
        DivergenceError: outputs that are not finite.
        ScenarioError: kernels that cannot be measured.
        ValueError: two observations of one name, or arrays other than announced.
    """
    names = cost_names(observations)
    before = dict(moment.shared.seconds)
    _refuse_not_finite(moment)
    values: dict[str, Arrays] = {}
    seconds: dict[str, float] = {}
    for index, observation in enumerate(observations):
        progress("measuring", index, len(observations))
        started, others = time.perf_counter(), moment.shared.total()
        found = observation.measure(moment, references.get(observation.name, {}))
        seconds[observation.name] = time.perf_counter() - started - (moment.shared.total() - others)
        values[observation.name] = _as_announced(found, observation, moment.observed)
    progress("measuring", len(observations), len(observations))
    seconds |= {work: moment.shared.seconds[work] - before[work] for work in SHARED_WORK}
    return values, {name: seconds[name] for name in names}


def references_of(observations: Sequence[AbstractObservation], moment: Moment) -> dict[str, Arrays]:
    """What later moments are compared with; of the first moment of a run, and kept in its checkpoints.

    Raises as :func:`observe`. What is measured here is not measured again when the same moment is observed.
    """
    cost_names(observations)
    _refuse_not_finite(moment)
    found = {observation.name: observation.reference(moment) for observation in observations}
    return {name: arrays for name, arrays in found.items() if arrays}


def cost_names(observations: Sequence[AbstractObservation]) -> tuple[str, ...]:
    """The kinds of work that are timed: every observation, then what they share.

    Raises:
        ValueError: two observations of one name.
    """
    names = tuple(observation.name for observation in observations)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two observations are named {twice[0]!r}: each has a group of its own in the results")
    return (*names, *SHARED_WORK)


def cost_variable(observations: Sequence[AbstractObservation]) -> Variable:
    """The seconds as an array over the kinds of work."""
    names = cost_names(observations)
    return Variable(
        "seconds",
        ("work",),
        (len(names),),
        "s",
        "Wall time of measuring at this moment, compilation included: of each group of observations without what they "
        f"share, then of shared work ({', '.join(SHARED_WORK)}).",
    )


def _as_announced(found: Arrays, observation: AbstractObservation, observed: Observed) -> Arrays:
    announced = observation.variables(observed)
    if set(found) != {variable.name for variable in announced}:
        different = set(found) ^ {variable.name for variable in announced}
        raise ValueError(
            f"{observation.name} announced other variables than it measured: {', '.join(sorted(different))}"
        )
    ordered: Arrays = {}
    for variable in announced:
        array = np.asarray(found[variable.name], dtype=float)
        if array.shape != variable.shape:
            raise ValueError(
                f"{observation.name}.{variable.name} has shape {array.shape}, announced was {variable.shape}"
            )
        ordered[variable.name] = array
    return ordered


def _refuse_not_finite(moment: Moment) -> None:
    wrong = np.flatnonzero(~np.isfinite(moment.training.logits).all(axis=0))
    if wrong.size:
        raise DivergenceError(
            f"the network's outputs are not finite at {wrong.size} of {moment.observed.samples} training samples",
            place=moment.label,
            remedy="Training has diverged: take a smaller step size, or look at the scale of the inputs.",
        )
