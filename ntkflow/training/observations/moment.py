"""A network at one moment of its training."""

from __future__ import annotations

import dataclasses
import math

from ntkflow.networks import AbstractClassifier
from ntkflow.progress import Progress, silent
from ntkflow.training.observations.forward import Outputs, outputs_of
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.shared import Shared


@dataclasses.dataclass(frozen=True, eq=False)
class Moment:
    """One moment, and what was found of it so far: passes and kernels that several observations need are made once.

    Attributes:
        network: a function of one sample: where layers normalise, the statistics are chosen and stored in it
            (:func:`ntkflow.networks.with_statistics_of`, :func:`ntkflow.networks.running_average`). All derivatives are
            those with these statistics held constant.
        observed: on what it is measured.
        epoch: of training.
        step: of the optimiser.
        time: gradient-flow time of the loss with the observed Z, as far as there is one.
        step_size: η of the optimiser at this moment; NaN where there is none, as for a flow.
        progress: told by kernels, from tile to tile.
    """

    network: AbstractClassifier
    observed: Observed
    epoch: int
    step: int
    time: float
    step_size: float = math.nan
    progress: Progress = silent
    shared: Shared = dataclasses.field(default_factory=Shared, init=False, repr=False)

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"epoch {self.epoch}"

    @property
    def training(self) -> Outputs:
        """H and f(X) of the training samples."""
        return self._outputs("training")

    @property
    def test(self) -> Outputs:
        """Those of the test samples."""
        return self._outputs("test")

    @property
    def kernel_sample(self) -> Outputs:
        """Those of the kernels' samples."""
        return self._outputs("kernels")

    def _outputs(self, which: str) -> Outputs:
        observed = self.observed
        inputs = {"training": observed.inputs, "test": observed.test_inputs, "kernels": observed.kernel_inputs}[which]
        return self.shared.get("forward_passes", which, lambda: outputs_of(self.network, inputs, observed.piece))
