"""Classifiers with batch normalisation: functions of one sample once their statistics are chosen."""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.networks.classifier import AbstractClassifier
from ntkflow.networks.statistics import BatchAxis, Statistics

_AXIS = "ntkflow_batch"


class AbstractBatchClassifier(AbstractClassifier):
    """A classifier whose layers may normalise by statistics of a batch.

    ``network.features(x)`` and ``network(x)`` use the stored statistics and are functions of one sample: only of such a
    function is Θ(x, x') a kernel. :meth:`batch_features` is the pass that training uses.
    """

    @abc.abstractmethod
    def apply(
        self, x: Float[Array, "..."], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, " features"], "AbstractBatchClassifier"]:
        """Features of one sample, and the network with the statistics that were used.

        ``batch_axis=None``: by the stored statistics. The name of a vmap's axis: by the statistics of that batch.
        """

    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        """Last-layer features h(x) of one sample, by the stored statistics."""
        return self.apply(x, None)[0]

    def batch_features(
        self, inputs: Float[Array, "samples ..."]
    ) -> tuple[Float[Array, "features samples"], "AbstractBatchClassifier"]:
        """H of a batch normalised by its own statistics, layer by layer, and the network with these stored.

        Differentiable with respect to the network's parameters, through the statistics too; the stored ones that come
        back are constants.
        """
        return jax.vmap(lambda x: self.apply(x, _AXIS), out_axes=(1, None), axis_name=_AXIS)(inputs)


@eqx.filter_jit
def with_statistics_of(
    network: AbstractBatchClassifier, reference: Float[Array, "samples ..."]
) -> AbstractBatchClassifier:
    """The same network with every normalisation's statistics set to those of one reference batch.

    The statistics are the mean and the biased variance that the batch mode uses, each layer's measured with the layers
    before it normalised by theirs. Samples of the reference batch then have the features that the batch mode gives
    them; any other sample is normalised by the reference's statistics.

    Raises:
        ValueError: a batch with a single value a channel in some layer.
    """
    return network.batch_features(reference)[1]


def running_average(
    network: AbstractBatchClassifier, measured: AbstractBatchClassifier, momentum: float = 0.1
) -> AbstractBatchClassifier:
    """The network with its statistics averaged with those of one more batch, :meth:`Statistics.averaged`.

    Args:
        network: gives parameters and the running average up to now.
        measured: as :meth:`AbstractBatchClassifier.batch_features` returned it for the batch; only its statistics
            are used.
        momentum: weight ρ of the new batch (PyTorch's convention; Equinox and Flax call 1 − ρ momentum).

    Raises:
        ValueError: a momentum outside (0, 1].
    """
    if not 0 < momentum <= 1:
        raise ValueError(f"running_average: momentum is the weight of the new batch, in (0, 1], not {momentum}")
    return jax.tree.map(
        lambda old, new: old.averaged(new, momentum) if isinstance(old, Statistics) else old,
        network,
        measured,
        is_leaf=lambda node: isinstance(node, Statistics),
    )


def require_statistics(network: eqx.Module) -> None:
    """Refuses a network that would be measured as a function of one sample without statistics to normalise by.

    Raises:
        ValueError: a normalisation whose statistics were never measured, or are not finite; names the layer.
    """
    nodes = jax.tree_util.tree_leaves_with_path(network, is_leaf=lambda node: isinstance(node, Statistics))
    for path, node in nodes:
        if not isinstance(node, Statistics):
            continue
        where = jax.tree_util.keystr(path).removesuffix(".statistics").removeprefix(".") or "the network"
        if not np.all(np.asarray(node.values) > 0):
            raise ValueError(
                f"{where}: statistics were never measured; set them with with_statistics_of(network, reference_inputs)"
            )
        if not bool(jnp.all(jnp.isfinite(node.mean) & jnp.isfinite(node.variance))):
            raise ValueError(
                f"{where}: statistics are not finite; look at the inputs of the batch they were measured on"
            )
