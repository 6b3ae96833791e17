"""What every network here is: features h(x), then one linear layer W h + b (paper 3, (1))."""

from __future__ import annotations

import abc

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ntkflow.networks.affine import AbstractAffine


class Readout(AbstractAffine):
    """The linear classification layer: logits W h + b."""

    weight: Float[Array, "outputs features"]
    bias: Float[Array, " outputs"]


class AbstractClassifier(eqx.Module):
    """A network split where the theory splits it: last-layer features, and the readout W, b on top of them."""

    readout: eqx.AbstractVar[AbstractAffine]

    @abc.abstractmethod
    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        """Last-layer features h(x) of one sample."""

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " outputs"]:
        """Logits f(x) = W h(x) + b of one sample."""
        return self.readout(self.features(x))

    def feature_matrix(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "features samples"]:
        """H: the features of many samples as columns, as in paper 3."""
        return jax.vmap(self.features, out_axes=1)(inputs)

    def logit_matrix(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "outputs samples"]:
        """f(X) = W H + b 1ᵀ: the logits of many samples as columns."""
        return jax.vmap(self, out_axes=1)(inputs)

    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self, eqx.is_inexact_array)))
