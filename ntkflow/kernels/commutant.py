"""Symmetric matrices that commute with given ones, and the projection on them: which quadratic forms a flow keeps."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.csgraph import connected_components

_TOLERANCE = 1e-10
"""Commutators, couplings and differences of eigenvalues below this share of a matrix's norm count as 0."""


class Commutant(eqx.Module):
    """The symmetric matrices B with BA = AB for every A of a family of symmetric matrices, as a projection.

    Feature space splits into blocks that no A couples. Where the A commute, a block is a joint eigenspace, and B is any
    symmetric matrix on it. Where they do not, B is a multiple of the identity on every block that cannot be split
    further (Schur's lemma). Only blocks on which every A is positive definite are counted, for there the A can be
    inverted. Decided in NumPy when built, so the matrices must be known: not under ``jit``.

    Attributes:
        basis: V, orthonormal columns; the blocks are spanned by some of them each.
        kept: 1 at the entries of VᵀXV that the projection of X keeps (commuting family), else 0.
        averaged: the matrix by which the diagonal of VᵀXV is averaged over blocks (other families); else 0.
        dimension: of the space of all B.
        complete: False where a family that does not commute has repeated eigenvalues in such a way that there may be
            more B than are counted; those counted are right.
    """

    basis: Float[Array, "features features"]
    kept: Float[Array, "features features"]
    averaged: Float[Array, "features features"]
    dimension: int = eqx.field(static=True)
    complete: bool = eqx.field(static=True)

    @staticmethod
    def of(matrices: Sequence[Float[Array, "features features"]]) -> Commutant:
        """The commutant of symmetric matrices of one size, at least one."""
        family = np.stack([np.asarray(matrix, dtype=float) for matrix in matrices])
        sizes = np.linalg.norm(family, axis=(1, 2), keepdims=True)
        family = family / np.where(sizes > 0, sizes, 1.0)
        # A generic combination: its eigenspaces are the joint ones wherever there are joint ones.
        weights = np.random.default_rng(0).uniform(0.5, 1.5, len(family))
        values, basis = np.linalg.eigh(np.tensordot(weights, family, axes=1))
        inside = np.einsum("pi,apq,qj->aij", basis, family, basis)
        diagonals = np.diagonal(inside, axis1=1, axis2=2)
        coupled = np.max(np.abs(inside - np.einsum("ai,ij->aij", diagonals, np.eye(len(basis)))), axis=0) > _TOLERANCE
        if not coupled.any():
            near = np.max(np.abs(diagonals[:, :, None] - diagonals[:, None, :]), axis=0) <= _TOLERANCE
            return _on_eigenspaces(basis, near, diagonals)
        repeated = np.abs(values[:, None] - values[None, :]) <= _TOLERANCE
        complete = int(repeated.sum()) == len(values)
        return _on_blocks(basis, coupled | repeated, inside, complete=complete)

    def project(self, matrix: Float[Array, "features features"]) -> Float[Array, "features features"]:
        """The nearest member, in Frobenius norm, to a symmetric matrix."""
        inside = self.basis.T @ matrix @ self.basis
        chosen = self.kept * inside + jnp.diag(self.averaged @ jnp.diagonal(inside))
        return self.basis @ chosen @ self.basis.T


def _on_eigenspaces(basis: np.ndarray, near: np.ndarray, diagonals: np.ndarray) -> Commutant:
    kept = np.zeros_like(basis)
    dimension = 0
    for block in _blocks(near):
        if np.min(diagonals[:, block]) > _TOLERANCE:
            kept[np.ix_(block, block)] = 1.0
            dimension += len(block) * (len(block) + 1) // 2
    return _made(basis, kept, np.zeros_like(basis), dimension, complete=True)


def _on_blocks(basis: np.ndarray, joined: np.ndarray, inside: np.ndarray, *, complete: bool) -> Commutant:
    averaged = np.zeros_like(basis)
    dimension = 0
    for block in _blocks(joined):
        if np.min(np.linalg.eigvalsh(inside[:, block][:, :, block])) > _TOLERANCE:
            averaged[np.ix_(block, block)] = 1 / len(block)
            dimension += 1
    return _made(basis, np.zeros_like(basis), averaged, dimension, complete=complete)


def _made(basis: np.ndarray, kept: np.ndarray, averaged: np.ndarray, dimension: int, *, complete: bool) -> Commutant:
    return Commutant(jnp.asarray(basis), jnp.asarray(kept), jnp.asarray(averaged), dimension, complete)


def _blocks(joined: np.ndarray) -> list[np.ndarray]:
    count, labels = connected_components(joined, directed=False)
    return [np.flatnonzero(labels == index) for index in range(count)]
