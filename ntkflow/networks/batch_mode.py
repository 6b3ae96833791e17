"""A batch-normalised network as training sees it."""

from __future__ import annotations

from jaxtyping import Array, Float

from ntkflow.networks.affine import AbstractAffine
from ntkflow.networks.batch_classifier import AbstractBatchClassifier
from ntkflow.networks.classifier import AbstractClassifier


class BatchMode(AbstractClassifier):
    """A batch-normalised classifier as training sees it: what it makes of a sample depends on the whole batch.

    Features and logits exist of a batch only, and their derivatives go through the batch's statistics.
    """

    network: AbstractBatchClassifier

    def __init__(self, network: AbstractBatchClassifier) -> None:
        self.network = network

    @property
    def readout(self) -> AbstractAffine:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The network's own."""
        return self.network.readout

    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        """Raises ``TypeError``: a sample alone has no batch."""
        raise TypeError("batch statistics need a batch: call feature_matrix or logit_matrix")

    def feature_matrix(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "features samples"]:
        """H, normalised by the batch's own statistics."""
        return self.network.batch_features(inputs)[0]

    def logit_matrix(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "outputs samples"]:
        """W H + b 1ᵀ."""
        return self.readout.weight @ self.feature_matrix(inputs) + self.readout.bias[:, None]


def as_trained(network: AbstractClassifier) -> AbstractClassifier:
    """The network as full-batch training sees it: in batch mode where it normalises by batches, else itself."""
    return BatchMode(network) if isinstance(network, AbstractBatchClassifier) else network


def unwrapped(network: AbstractClassifier) -> AbstractClassifier:
    """The network behind :func:`as_trained`."""
    return network.network if isinstance(network, BatchMode) else network
