"""Passes through the network in pieces of bounded size.

Loops over pieces are in Python: XLA's convolutions on CPUs are several times slower inside its own loops. All pieces
have one size, so that one compiled program serves them; the last is moved back, over samples that are left out then.
Results come to the host in float64: sums over many samples are taken there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ntkflow.networks import AbstractClassifier


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some of the samples.

    Attributes:
        inputs: they.
        start: the place of the first among all.
        known: how many of the first were in the piece before.
    """

    inputs: Float[Array, "piece ..."]
    start: int
    known: int

    @property
    def places(self) -> Int[np.ndarray, " piece"]:
        """The places of its samples among all."""
        return np.arange(self.start, self.start + self.inputs.shape[0])

    @property
    def weights(self) -> Float[np.ndarray, " piece"]:
        """0 for those that were in the piece before, else 1."""
        return (np.arange(self.inputs.shape[0]) >= self.known).astype(float)


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """H and f(X) of some samples, in float64."""

    features: Float[np.ndarray, "features samples"]
    logits: Float[np.ndarray, "classes samples"]


def pieces_of(inputs: Float[Array, "samples ..."], piece: int) -> Iterator[Piece]:
    """The samples in as few pieces of one size as hold at most ``piece`` each."""
    samples = inputs.shape[0]
    if not samples:
        return
    size = -(-samples // -(-samples // piece))
    for first in range(0, samples, size):
        start = min(first, samples - size)
        part = inputs if size == samples else _slice(inputs, start, size=size)
        yield Piece(part, start, first - start)


def outputs_of(network: AbstractClassifier, inputs: Float[Array, "samples ..."], piece: int) -> Outputs:
    """Features and logits of all samples; passes and results in the network's precision, then in float64."""
    found = [(item, *_outputs(network, item.inputs)) for item in pieces_of(inputs, piece)]
    if not found:
        classes, features = network.readout.weight.shape
        return Outputs(np.empty((features, 0)), np.empty((classes, 0)))
    features = [np.asarray(h, dtype=float)[:, item.known :] for item, h, _ in found]
    logits = [np.asarray(f, dtype=float)[:, item.known :] for item, _, f in found]
    return Outputs(np.concatenate(features, axis=1), np.concatenate(logits, axis=1))


@eqx.filter_jit
def _outputs(
    network: AbstractClassifier, inputs: Float[Array, "piece ..."]
) -> tuple[Float[Array, "features piece"], Float[Array, "classes piece"]]:
    features = network.feature_matrix(inputs)
    return features, jax.vmap(network.readout, in_axes=1, out_axes=1)(features)


@functools.partial(jax.jit, static_argnames="size")
def _slice(inputs: Float[Array, "samples ..."], start: int | Array, *, size: int) -> Float[Array, "piece ..."]:
    return jax.lax.dynamic_slice_in_dim(inputs, start, size)
