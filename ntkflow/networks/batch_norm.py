"""Batch normalisation whose statistics are an explicit choice."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ntkflow.networks.channel_order import channels_first, channels_last
from ntkflow.networks.statistics import (
    BatchAxis,
    Statistics,
    measure_statistics,
    normalize,
    over_positions,
    unset_statistics,
)


class BatchNorm(eqx.Module):
    """Batch normalisation y = gain · (x − μ)/√(v + ε) + shift, channel by channel (Ioffe & Szegedy 2015, algorithm 1).

    Where μ and v come from is said at each call of :meth:`apply`. With ``batch_axis=None`` they are the stored
    statistics: the layer is an affine function of one sample, and constant statistics have no derivative. With the name
    of a vmap's axis they are measured on that batch (v biased, 1/k), derivatives pass through them, and the
    layer comes back with them stored.

    A new layer has no statistics yet: :func:`ntkflow.networks.with_statistics_of` measures them on a reference batch,
    :func:`ntkflow.networks.running_average` averages them during training, and
    :func:`ntkflow.networks.require_statistics` refuses a network that has none.

    Args:
        channels: size of the first axis of x; any further axes are positions, over which statistics are shared.
        eps: ε, added to the variance; 1e-5 as in PyTorch and Equinox (TensorFlow: 1e-3).
        dtype: of gain and shift, and of the statistics; None is JAX's default.
    """

    gain: Float[Array, " channels"]
    shift: Float[Array, " channels"]
    statistics: Statistics
    eps: float = eqx.field(static=True)

    def __init__(self, channels: int, *, eps: float = 1e-5, dtype: DTypeLike | None = None) -> None:
        self.gain = jnp.ones(channels, dtype)
        self.shift = jnp.zeros(channels, dtype)
        self.statistics = unset_statistics(channels, dtype)
        self.eps = eps

    def apply(
        self, x: Float[Array, "channels *positions"], batch_axis: BatchAxis | None
    ) -> tuple[Float[Array, "channels *positions"], "BatchNorm"]:
        """One sample normalised by the stored statistics (None) or by its batch's, and the layer that holds them.

        Raises:
            ValueError: a batch with a single value a channel.
        """
        if batch_axis is None:
            mean, variance = self.statistics.mean, self.statistics.variance
            y = over_positions(self.gain, x) * normalize(x, mean, variance, self.eps) + over_positions(self.shift, x)
            return y, self
        mean, variance, values = measure_statistics(x, batch_axis)
        # One factor and one summand a channel: the pass over all positions then has no root and no division in it.
        factor = self.gain / jnp.sqrt(variance + self.eps)
        y = channels_first((channels_last(x) - mean) * factor + self.shift)
        return y, eqx.tree_at(lambda norm: norm.statistics, self, Statistics(mean, variance, values))

    def __call__(self, x: Float[Array, "channels *positions"]) -> Float[Array, "channels *positions"]:
        """One sample normalised by the stored statistics."""
        return self.apply(x, None)[0]
