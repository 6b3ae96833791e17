"""The loss that is trained: ‖f(X) − Y‖²_F/(2Z) on a balanced data set."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.data import Dataset
from ntkflow.kernels import split_eigenspaces
from ntkflow.networks import AbstractClassifier


class Problem(eqx.Module):
    """Inputs and targets on the device, and Z.

    Attributes:
        inputs: N samples sorted by class.
        targets: column c is the target of class c.
        loss_scale: Z; all times and rates are gradient-flow time of ‖R‖²_F/(2Z).
    """

    inputs: Float[Array, "samples ..."]
    targets: Float[Array, "classes classes"]
    loss_scale: float = eqx.field(static=True)

    @classmethod
    def of(cls, dataset: Dataset, loss_scale: float) -> Problem:
        """The problem of fitting a data set's training samples."""
        return cls(dataset.inputs, dataset.targets, loss_scale)

    @property
    def classes(self) -> int:
        """C."""
        return self.targets.shape[1]

    def residual(self, network: AbstractClassifier) -> Float[Array, "classes samples"]:
        """R = f(X) − Y."""
        per_class = self.inputs.shape[0] // self.classes
        return network.logit_matrix(self.inputs) - jnp.repeat(self.targets, per_class, axis=1)

    def loss(self, network: AbstractClassifier) -> tuple[Float[Array, ""], Float[Array, "3"]]:
        """The loss, and the norms of R's parts (:data:`ntkflow.kernels.EIGENSPACES`) that come with it."""
        residual = self.residual(network)
        return jnp.sum(residual**2) / (2 * self.loss_scale), split_eigenspaces(residual, self.classes).norms()


@eqx.filter_jit
def residual_matrix(problem: Problem, network: AbstractClassifier) -> Float[Array, "classes samples"]:
    """Compiled :meth:`Problem.residual`."""
    return problem.residual(network)


@eqx.filter_jit
def accuracy(network: AbstractClassifier, inputs: Float[Array, "samples ..."], labels: Array) -> Float[Array, ""]:
    """Share of samples whose largest logit is that of their class. NaN without samples."""
    # The mean of booleans would be in float32.
    return jnp.mean(jnp.argmax(network.logit_matrix(inputs), axis=0) == labels, dtype=inputs.dtype)
