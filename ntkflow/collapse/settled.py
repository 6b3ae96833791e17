"""The fixed point that a state near the end of its flow is about to reach."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows import ClassFlow, ClassState

NULL = 1e-9
"""Eigenvalues of Ẽ below this share of the largest count as 0: as large as the error of a careful integration. W and H₂
go with the square root, so what is neglected in them can be 3e-5 of their size."""


def settle(flow: ClassFlow, state: ClassState) -> ClassState:
    """The limit of the hyperbolic dynamics (44) of W and S from a state, with class means and bias as they are.

    Ẽ = μ_single WᵀW − mS is constant while R₁ = 0, and splits: μ_single WᵀW → Ẽ₊ and mS → Ẽ₋, the positive and the
    negative part. W and H₂ are taken as the matrices with these Grams that are nearest to the present ones. Exact at
    a fixed point, except that Ẽ's eigenvalues below :data:`NULL` of the largest count as 0.
    """
    kernel = flow.kernel
    eigenvalues, vectors = _eigen(flow, state)
    upper = (vectors * jnp.sqrt(jnp.maximum(eigenvalues, 0.0) / kernel.lambda_single)) @ vectors.T
    lower = (vectors * jnp.sqrt(jnp.maximum(-eigenvalues, 0.0) / kernel.per_class)) @ vectors.T
    return ClassState(
        class_means=state.class_means,
        within=_with_gram(state.within.T, lower).T,
        weight=_with_gram(state.weight, upper),
        bias=state.bias,
    )


def null_part(flow: ClassFlow, state: ClassState) -> Float[Array, "2"]:
    """What is left of W and H₂ where Ẽ is 0, and how near to 0 the rest of Ẽ comes.

    The first is the trace of μ_single WᵀW + mS over Ẽ's null space, over ‖Ẽ‖: there both decay as 1/t only. The second
    is the least of Ẽ's other eigenvalues over the largest.
    """
    kernel = flow.kernel
    eigenvalues, vectors = _eigen(flow, state)
    size = jnp.abs(eigenvalues)
    null = size == 0
    sides = kernel.lambda_single * (state.weight @ vectors) ** 2
    within = kernel.per_class * (state.within.T @ vectors) ** 2
    left = jnp.sum(jnp.where(null, jnp.sum(sides, axis=0) + jnp.sum(within, axis=0), 0.0))
    largest = jnp.max(size)
    return jnp.stack([left, jnp.min(jnp.where(null, largest, size))]) / largest


def _eigen(flow: ClassFlow, state: ClassState) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    kernel = flow.kernel
    scatter = state.within @ state.within.T
    invariant = kernel.lambda_single * (state.weight.T @ state.weight) - kernel.per_class * scatter
    eigenvalues, vectors = jnp.linalg.eigh(invariant)
    size = jnp.abs(eigenvalues)
    return jnp.where(size <= NULL * jnp.max(size), 0.0, eigenvalues), vectors


def _with_gram(matrix: Float[Array, "rows n"], root: Float[Array, "n n"]) -> Float[Array, "rows n"]:
    """The matrix X with XᵀX = root² nearest to the given one: its polar factor on the range of ``root``, times that."""
    if not matrix.size:
        return matrix
    left, _, right = jnp.linalg.svd(matrix @ root, full_matrices=False)
    return (left @ right) @ root
