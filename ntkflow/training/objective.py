"""What mini-batch training minimises: a value from a batch's logits, its classes, and the classes' targets."""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class AbstractObjective(eqx.Module):
    """A loss of one batch.

    Scaled so that the mean of its gradient over the draws of a batch is the gradient of the loss of all samples: a step
    then means the same for every size of batch.
    """

    @abc.abstractmethod
    def value(
        self,
        logits: Float[Array, "outputs batch"],
        labels: Int[Array, " batch"],
        targets: Float[Array, "outputs classes"],
        share: float,
    ) -> Float[Array, ""]:
        """The loss of a batch B.

        Args:
            logits: f(x) of the batch's samples as columns.
            labels: their classes.
            targets: column c is the target of class c.
            share: |B|/N of N training samples; 1 for the full batch.
        """


class SquaredError(AbstractObjective):
    """‖R_B‖²_F/(2Z_B) with R_B = f(X_B) − Y_B and Z_B = Z·|B|/N.

    Over the draws of a balanced batch every sample is in B with probability |B|/N, so the mean of the loss, and of its
    gradient, is that of ‖R‖²_F/(2Z): the step size, and time η·step, mean the same for a batch as for all samples
    (``docs/theory/training.md``). The full batch has Z_B = Z, the loss of :class:`ntkflow.training.Problem`.

    Other conventions are other Z: the mean over samples and outputs, as in PyTorch's ``MSELoss``, is Z = NC/2; half the
    mean over samples is Z = N.

    Args:
        loss_scale: Z of all N samples.

    Raises:
        ValueError: Z is not positive.
    """

    loss_scale: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not self.loss_scale > 0:
            raise ValueError(f"SquaredError: loss_scale Z must be positive, not {self.loss_scale}")

    def value(
        self,
        logits: Float[Array, "outputs batch"],
        labels: Int[Array, " batch"],
        targets: Float[Array, "outputs classes"],
        share: float,
    ) -> Float[Array, ""]:
        """‖R_B‖²_F/(2 Z share)."""
        residual = logits - targets[:, labels]
        return jnp.sum(residual**2) / (2 * self.loss_scale * share)


class CrossEntropy(AbstractObjective):
    """−(1/|B|) Σ_{i∈B} log softmax(f(x_i))_{c(i)}: the mean over the batch's samples.

    It is about the classes themselves: the targets, one-hot or zero-centred, are not looked at. A factor 1/Z that
    compares with a flow is Z = N.
    """

    def value(
        self,
        logits: Float[Array, "outputs batch"],
        labels: Int[Array, " batch"],
        targets: Float[Array, "outputs classes"],
        share: float,
    ) -> Float[Array, ""]:
        """Mean over the batch; ``targets`` and ``share`` have no part in it."""
        own = jnp.take_along_axis(logits, labels[None], axis=0)[0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=0) - own)
