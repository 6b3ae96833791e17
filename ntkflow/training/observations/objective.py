"""The loss that a run trains, as far as measurements have to know it."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

LossName = Literal["squared_error", "cross_entropy"]


@dataclasses.dataclass(frozen=True)
class Objective:
    """A sum over samples divided by Z: ‖R‖²_F/(2Z) with R = f(X) − Y, or Σᵢ −log softmax(f(xᵢ))_{yᵢ} / Z.

    Weight decay is no part of it: what is measured is the loss of the data.

    Attributes:
        loss: which.
        loss_scale: Z for the samples that are measured. The mean over N samples has Z = N; paper 3's text has Z = 1,
            its code Z = NC with N the samples of a batch. For a part of the samples, or for other samples, Z is
            scaled by their number, so that all losses are means of one kind (:meth:`scaled`).
    """

    loss: LossName
    loss_scale: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.loss_scale) and self.loss_scale > 0):
            raise ValueError(f"the loss scale Z must be positive and finite, not {self.loss_scale:g}")

    def scaled(self, samples: int, of: int) -> Objective:
        """The same loss for ``samples`` samples in place of ``of``: Z·samples/of."""
        return dataclasses.replace(self, loss_scale=self.loss_scale * samples / of)

    def total(
        self,
        logits: Float[Array, "classes samples"],
        targets: Float[Array, "classes classes"],
        labels: Int[Array, " samples"],
        weights: Float[Array, " samples"],
    ) -> Float[Array, ""]:
        """The loss, each sample counted ``weights`` times, in the precision of the logits.

        Args:
            logits: f(X).
            targets: column c is the target of class c; used by the squared error.
            labels: the classes of the samples.
            weights: 1 for a sample that counts, 0 for one that only fills up an array.
        """
        weights = weights.astype(logits.dtype)
        if self.loss == "squared_error":
            residual = logits - targets.astype(logits.dtype)[:, labels]
            return jnp.sum(weights * residual**2) / (2 * self.loss_scale)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=0), labels[None], axis=0)[0]
        return -jnp.sum(weights * chosen) / self.loss_scale

    def __str__(self) -> str:
        z = f"Z = {self.loss_scale:g}"
        return f"‖R‖²_F/(2Z), {z}" if self.loss == "squared_error" else f"Σᵢ −log softmax(f(xᵢ))_yᵢ/Z, {z}"
