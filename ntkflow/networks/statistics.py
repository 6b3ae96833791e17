"""Means and variances by which a batch normalisation normalises: of a batch, or averaged over batches."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from ntkflow.networks.stored import Stored

BatchAxis = str | tuple[str, ...]
"""Name of the axis, or axes, of ``jax.vmap`` (or ``jax.shard_map``) along which the samples of a batch lie."""


class Statistics(eqx.Module):
    """Mean and variance of each channel; no parameters (:class:`ntkflow.networks.Stored`).

    Attributes:
        values: how many values of a channel the last measured batch had, samples × positions; 0 before any was
            measured. Mean 0 and variance 1 are then placeholders, and normalising by them is no normalisation.
    """

    stored_mean: Stored
    stored_variance: Stored
    values: Int[Array, ""]

    def __init__(
        self, mean: Float[Array, " channels"], variance: Float[Array, " channels"], values: int | Int[Array, ""]
    ) -> None:
        self.stored_mean = Stored(mean)
        self.stored_variance = Stored(variance)
        self.values = jnp.asarray(values, jnp.int32)

    @property
    def mean(self) -> Float[Array, "*members channels"]:
        """Mean of each channel."""
        return self.stored_mean.value

    @property
    def variance(self) -> Float[Array, "*members channels"]:
        """Variance of each channel: of a batch the biased one, of a running average the unbiased one."""
        return self.stored_variance.value

    def averaged(self, batch: "Statistics", momentum: float) -> "Statistics":
        """The running average after one more batch: (1 − ρ)·running + ρ·batch, with PyTorch's meaning of ρ = momentum.

        The first batch sets it, so that it is an average of batches from the first step on; PyTorch averages in its
        placeholders 0 and 1 instead, with weight (1 − ρ)ᵗ after t steps. As in PyTorch the variance that is averaged is
        the unbiased one, v·k/(k − 1) for k values, while a batch is normalised by v itself.
        """
        first = self.values == 0
        k = batch.values.astype(batch.variance.dtype)
        # k = 1 has no unbiased variance; measuring refuses it, so the guard only keeps untouched placeholders finite.
        unbiased = batch.variance * (k / jnp.maximum(k - 1, 1))
        average = Statistics(
            jnp.where(first, batch.mean, (1 - momentum) * self.mean + momentum * batch.mean),
            jnp.where(first, unbiased, (1 - momentum) * self.variance + momentum * unbiased),
            batch.values,
        )
        # A layer that the measured pass did not reach keeps what it has.
        return jax.tree.map(lambda new, old: jnp.where(batch.values == 0, old, new), average, self)


def unset_statistics(channels: int, dtype: DTypeLike | None = None) -> Statistics:
    """Placeholders: mean 0, variance 1, measured on nothing."""
    return Statistics(jnp.zeros(channels, dtype), jnp.ones(channels, dtype), 0)


def measure_statistics(
    x: Float[Array, "channels *positions"], batch_axis: BatchAxis
) -> tuple[Float[Array, " channels"], Float[Array, " channels"], int]:
    """Mean, biased variance and number of values of each channel over positions and batch, in two passes.

    To be called on one sample inside a vmap with that axis name. Differentiable, as training needs.

    Raises:
        ValueError: a single value a channel, whose variance says nothing.
        NameError: no such axis, from JAX.
    """
    positions = tuple(range(1, x.ndim))
    values = math.prod(x.shape[1:]) * jax.lax.axis_size(batch_axis)
    if values < 2:
        raise ValueError(
            f"batch normalisation: a batch of one sample with one position a channel (shape {x.shape}) has no variance;"
            " give two samples or more"
        )
    mean = jax.lax.pmean(jnp.mean(x, positions), batch_axis)
    variance = jax.lax.pmean(jnp.mean((x - over_positions(mean, x)) ** 2, positions), batch_axis)
    return mean, variance, values


def normalize(
    x: Float[Array, "channels *positions"],
    mean: Float[Array, " channels"],
    variance: Float[Array, " channels"],
    eps: float,
) -> Float[Array, "channels *positions"]:
    """(x − mean)/√(variance + ε), channel by channel."""
    mean, variance = mean.astype(x.dtype), variance.astype(x.dtype)
    return (x - over_positions(mean, x)) / over_positions(jnp.sqrt(variance + eps), x)


def over_positions(
    channels: Float[Array, " channels"], x: Float[Array, "channels *positions"]
) -> Float[Array, "channels *ones"]:
    """One number a channel, shaped to be combined with every position of x."""
    return channels.reshape(-1, *(1,) * (x.ndim - 1))
