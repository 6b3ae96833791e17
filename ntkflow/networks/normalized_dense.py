"""Dense layers with batch normalisation."""

from __future__ import annotations

import equinox as eqx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks.batch_norm import BatchNorm
from ntkflow.networks.initializers import Initialization, initial_weight
from ntkflow.networks.statistics import BatchAxis


class NormalizedDense(eqx.Module):
    """A dense layer W a without bias, then batch normalisation, whose shift takes the bias's place.

    Args:
        key: source of the initial weights.
        inputs: neurons in.
        outputs: neurons out.
        initialization: rule of the weights.
        dtype: of all parameters; None is JAX's default.
    """

    weight: Float[Array, "outputs inputs"]
    norm: BatchNorm

    def __init__(
        self,
        key: PRNGKeyArray,
        inputs: int,
        outputs: int,
        *,
        initialization: Initialization = "he_normal",
        dtype: DTypeLike | None = None,
    ) -> None:
        self.weight = initial_weight(key, (outputs, inputs), initialization, dtype)
        self.norm = BatchNorm(outputs, dtype=dtype)

    def apply(
        self, a: Float[Array, " inputs"], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, " outputs"], "NormalizedDense"]:
        """One sample, normalised as :meth:`BatchNorm.apply` says, and the layer with its statistics."""
        z, norm = self.norm.apply(self.weight @ a, batch_axis)
        return z, eqx.tree_at(lambda layer: layer.norm, self, norm)
