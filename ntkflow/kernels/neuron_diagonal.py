"""Kernels without a coupling of two neurons: one N×N matrix for each, or one for all."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.block import BlockKernel
from ntkflow.kernels.eigenspaces import split_eigenspaces
from ntkflow.kernels.operator import AbstractKernelOperator


class NeuronDiagonalKernel(AbstractKernelOperator):
    """Θ_{p,q} = δ_{p,q} K_p with every pair of samples: n matrices N×N, applied in O(nN²).

    Args:
        matrices: K_p, as ``empirical_ntk(..., trace="outputs")`` gives them.

    Raises:
        ValueError: matrices that are not square.
    """

    matrices: Float[Array, "neurons samples samples"]

    def __init__(self, matrices: Float[Array, "neurons rows columns"]) -> None:
        _refuse_not_square(matrices)
        self.matrices = matrices

    def apply(self, array: Float[Array, "neurons samples"]) -> Float[Array, "neurons samples"]:
        """K_p on row p."""
        return jnp.einsum("pij,pj->pi", self.matrices, array)


class IsotropicKernel(AbstractKernelOperator):
    """Θ_{p,q} = δ_{p,q} K: one N×N matrix for all neurons.

    Args:
        matrix: K. The nearest to n matrices K_p, in Frobenius norm, is their mean.

    Raises:
        ValueError: a matrix that is not square.
    """

    matrix: Float[Array, "samples samples"]

    def __init__(self, matrix: Float[Array, "rows columns"]) -> None:
        _refuse_not_square(matrix)
        self.matrix = matrix

    def apply(self, array: Float[Array, "neurons samples"]) -> Float[Array, "neurons samples"]:
        """Every row times K, which is symmetric."""
        return array @ self.matrix


def with_block_means(matrix: Float[Array, "samples samples"], classes: int) -> Float[Array, "samples samples"]:
    """λ_global P_global + λ_class P_class + P_within K P_within: three values for the means, all pairs within classes.

    The eigenvalues λ are those of the nearest block kernel, tr(P_e K)/tr P_e; the within-class spectrum is K's own, and
    nothing couples two eigenspaces. The nearest such kernel to K in Frobenius norm.

    Args:
        matrix: K, symmetric; samples sorted by class, the same number of each.
        classes: C.

    Raises:
        ValueError: samples that cannot be sorted into classes of equal size.
    """

    def within(array: Float[Array, "samples samples"]) -> Float[Array, "samples samples"]:
        return split_eigenspaces(array, classes).parts()[2]

    means = BlockKernel.nearest(matrix, classes).function(lambda eigenvalues: eigenvalues.at[2].set(0.0))
    return within(within(matrix).T).T + means.as_matrix()


def _refuse_not_square(matrices: Float[Array, "*stack rows columns"]) -> None:
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2]:
        raise ValueError(f"a kernel over samples is a square matrix, not of shape {matrices.shape}")
