"""Where a training run stands: everything that its next step depends on."""

from __future__ import annotations

from typing import Any

import equinox as eqx
from jaxtyping import Array, Int, PRNGKeyArray

from ntkflow.networks import AbstractClassifier


class TrainingState(eqx.Module):
    """A network in training. Saved and loaded again, it continues as if nothing had happened, bit for bit.

    Its buffers are handed over to each call that trains (donated), so a state that was trained further cannot be used
    again; the state that comes back takes its place. :func:`ntkflow.training.copy_state` keeps one.

    A stacked state of an ensemble has one more axis, the first, in every array.

    Attributes:
        network: parameters, and the running statistics of its normalisations, averaged from the first step on
            (:func:`ntkflow.networks.running_average`).
        optimizer_state: Optax's, of the parameters.
        epoch: finished epochs.
        step: finished steps since the beginning of training.
        key: of the order of samples; never changed, an epoch's order comes from the key and the epoch's number.
    """

    network: AbstractClassifier
    optimizer_state: Any
    epoch: Int[Array, "*members"]
    step: Int[Array, "*members"]
    key: PRNGKeyArray
