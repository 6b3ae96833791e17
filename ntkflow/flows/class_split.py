"""A sample state split into class means and what is left within each class, for classes of any sizes."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.states import ClassState, SampleState, within_basis


def split_classes(state: SampleState, sizes: Sequence[int]) -> ClassState:
    """H₁, and F with one group of max m_c − 1 columns for each class: FFᵀ = Σ_c m_c S_c/(N/C).

    S_c is class c's covariance, normalised by m_c. A smaller class has columns of zeros, which stay zero. With equal
    sizes this is :meth:`ntkflow.flows.ClassState.from_sample`.

    Raises:
        ValueError: the sizes do not add up to the number of samples.
    """
    samples = state.features.shape[1]
    if sum(sizes) != samples:
        raise ValueError(f"sizes {list(sizes)} add up to {sum(sizes)}, not to {samples} samples")
    width = max(sizes) - 1
    means, within, start = [], [], 0
    for size in sizes:
        block = state.features[:, start : start + size]
        means.append(jnp.mean(block, axis=1))
        columns = block @ within_basis(size).T * jnp.sqrt(len(sizes) / samples)
        within.append(jnp.pad(columns, ((0, 0), (0, width - columns.shape[1]))))
        start += size
    return ClassState(jnp.stack(means, axis=1), jnp.concatenate(within, axis=1), state.weight, state.bias)


def join_classes(state: ClassState, sizes: Sequence[int]) -> SampleState:
    """The inverse of :func:`split_classes`.

    Raises:
        ValueError: F does not have the columns that :func:`split_classes` makes, so that samples are not in it.
    """
    width = max(sizes) - 1
    if state.within.shape[1] != width * len(sizes):
        raise ValueError("single samples are not carried by this state; make it with samples=True")
    samples = sum(sizes)
    features = []
    for index, size in enumerate(sizes):
        columns = state.within[:, index * width : index * width + size - 1]
        deviations = columns @ within_basis(size) * jnp.sqrt(samples / len(sizes))
        features.append(state.class_means[:, index, None] + deviations)
    return SampleState(jnp.concatenate(features, axis=1), state.weight, state.bias)


def compress_columns(within: Float[Array, "features columns"], groups: int) -> Float[Array, "features fewer"]:
    """In each of so many equal groups of columns, at most n columns with the same FFᵀ."""
    neurons = within.shape[0]
    by_group = within.reshape(neurons, groups, -1)
    if by_group.shape[2] <= neurons:
        return within
    triangles = jnp.linalg.qr(jnp.transpose(by_group, (1, 2, 0)), mode="r")
    return jnp.transpose(jax.vmap(jnp.transpose)(triangles), (1, 0, 2)).reshape(neurons, groups * neurons)
