"""What every observation has: variables that are known beforehand, and a measurement of one moment."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.variable import Variable

Arrays = dict[str, Float[np.ndarray, "..."]]
"""Float64 arrays by the name of their variable."""


class AbstractObservation(eqx.Module):
    """A group of quantities that are measured together, and how.

    An observation holds its configuration and nothing that is measured: it is the same before and after, and two
    measurements of one network give the same numbers, bit for bit on one machine.

    Attributes:
        name: of its group in the results. Two of one class, with other samples for example, need two names.
    """

    name: eqx.AbstractVar[str]

    @abc.abstractmethod
    def variables(self, observed: Observed) -> tuple[Variable, ...]:
        """Every array that :meth:`measure` gives, in this order, with its definition."""

    @abc.abstractmethod
    def measure(self, moment: Moment, reference: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
        """The arrays of one moment.

        Args:
            moment: network and samples.
            reference: what :meth:`reference` gave of the first moment of this run.
        """

    def coordinates(self, observed: Observed) -> dict[str, tuple[str, ...]]:
        """The labels along the named axes of :meth:`variables`."""
        return {}

    def reference_variables(self, observed: Observed) -> tuple[Variable, ...]:
        """Every array of :meth:`reference`; none for most observations."""
        return ()

    def reference(self, moment: Moment) -> Arrays:
        """What later moments are compared with, of the first one.

        A run keeps these arrays in its checkpoint and hands them back, so that it gives the same values whether it was
        interrupted or not.
        """
        return {}
