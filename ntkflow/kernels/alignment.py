"""How much of a kernel is the labels' own: alignment and the share that a block structure explains."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.block import BlockKernel


def label_alignment(matrix: Float[Array, "samples samples"], classes: int) -> Float[Array, ""]:
    """Kernel–label alignment ⟨K, YᵀY⟩_F / (‖K‖_F ‖YᵀY‖_F), thesis (2.63), over all pairs, the diagonal included.

    YᵀY is 1 on pairs of one class and 0 elsewhere; samples are sorted by class, all classes of one size. Raises
    ``ValueError`` where they cannot be.
    """
    samples = matrix.shape[-1]
    if samples % classes:
        raise ValueError(f"{samples} samples cannot be sorted into {classes} classes of equal size")
    m = samples // classes
    same_class = jnp.einsum("aiaj->", matrix.reshape(classes, m, classes, m))
    return same_class / (jnp.linalg.norm(matrix) * m * jnp.sqrt(classes))


def block_share(matrix: Float[Array, "samples samples"], classes: int) -> Float[Array, ""]:
    """‖P(K)‖²_F / ‖K‖²_F with P(K) the nearest block kernel: 1 where K is block-structured."""
    return (BlockKernel.nearest(matrix, classes).frobenius_norm() / jnp.linalg.norm(matrix)) ** 2
