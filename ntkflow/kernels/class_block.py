"""Block kernels with values of their own for every class and every pair of classes, of any sizes."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ntkflow.kernels.block import BlockKernel
from ntkflow.kernels.matrix_block import refuse_asymmetric


class ClassBlockKernel(eqx.Module):
    """K = diag(Yᵀμ) + YᵀMY over N = Σ_c m_c samples sorted by class, class c with m_c of them.

    M_cc = κ_c of class c, its value on two distinct samples of the class; M_cc' = κ_n of the two classes; μ_c = κ_d −
    κ_c of class c, with κ_d the value on a sample and itself. With equal sizes and values it is
    :class:`ntkflow.kernels.BlockKernel`. Its spectrum: μ_c, m_c − 1 times each, on vectors that live on class c and sum
    to zero; and the C eigenvalues of D^½ G D^½, D = diag(m_c), on vectors constant on every class. Here

    G = M + diag(μ_c/m_c)

    is the kernel of the class means: G_cc' is the mean of K over the block (c, c').

    Args:
        diagonal: κ_d of each class.
        pairs: M.
        sizes: m_c.

    Raises:
        ValueError: sizes below 1, values for another number of classes, or M not symmetric.
    """

    diagonal: Float[Array, " classes"]
    pairs: Float[Array, "classes classes"]
    sizes: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        diagonal: Float[Array, " values"],
        pairs: Float[Array, "rows columns"],
        *,
        sizes: Sequence[int],
    ) -> None:
        classes = len(sizes)
        if classes < 1 or min(sizes) < 1:
            raise ValueError(f"every class needs a size of at least 1, not {list(sizes)}")
        if diagonal.shape != (classes,):
            raise ValueError(f"{classes} classes need {classes} diagonal values, not {diagonal.shape[0]}")
        if pairs.shape != (classes, classes):
            raise ValueError(f"{classes} classes need a {classes} x {classes} matrix of pair values, not {pairs.shape}")
        refuse_asymmetric(pairs, "the matrix of values of pairs of classes")
        self.diagonal = diagonal
        self.pairs = pairs
        self.sizes = tuple(int(size) for size in sizes)

    @staticmethod
    def common(
        diagonal: float | Float[Array, ""],
        same_class: float | Float[Array, ""],
        different_class: float | Float[Array, ""],
        *,
        sizes: Sequence[int],
    ) -> ClassBlockKernel:
        """Three values for all classes, d, c and n as in :class:`ntkflow.kernels.BlockKernel`, with unequal sizes."""
        d, c, n = (jnp.asarray(value, dtype=float) for value in (diagonal, same_class, different_class))
        classes = len(sizes)
        return ClassBlockKernel(jnp.full(classes, d), n + (c - n) * jnp.eye(classes), sizes=sizes)

    @staticmethod
    def from_block(kernel: BlockKernel) -> ClassBlockKernel:
        """A block kernel of classes of one size."""
        values = kernel.diagonal, kernel.same_class, kernel.different_class
        return ClassBlockKernel.common(*values, sizes=[kernel.per_class] * kernel.classes)

    @staticmethod
    def nearest(matrix: Float[Array, "samples samples"], sizes: Sequence[int]) -> ClassBlockKernel:
        """The nearest one, in Frobenius norm, to a symmetric matrix: means over the entries that share a value.

        A class of one sample has no pair; its κ_c, which is without effect, is set equal to its κ_d. Raises
        ``ValueError`` if the sizes do not add up to the number of samples.
        """
        if sum(sizes) != matrix.shape[0]:
            raise ValueError(f"sizes {list(sizes)} add up to {sum(sizes)}, not to {matrix.shape[0]} samples")
        labels = _labels(sizes)
        counts = np.asarray(sizes, dtype=float)
        sums = jax.ops.segment_sum(jax.ops.segment_sum(matrix, labels, len(sizes)).T, labels, len(sizes))
        diagonal = jax.ops.segment_sum(jnp.diagonal(matrix), labels, len(sizes))
        pairs = sums / np.outer(counts, counts)
        within = (jnp.diagonal(sums) - diagonal) / np.where(counts > 1, counts * (counts - 1), 1.0)
        within = jnp.where(counts > 1, within, diagonal)
        pairs = 0.5 * (pairs + pairs.T)
        return ClassBlockKernel(
            diagonal / counts, pairs - jnp.diag(jnp.diagonal(pairs)) + jnp.diag(within), sizes=sizes
        )

    @property
    def classes(self) -> int:
        """C."""
        return len(self.sizes)

    @property
    def samples(self) -> int:
        """N = Σ m_c."""
        return sum(self.sizes)

    @property
    def mean_size(self) -> float:
        """N/C, which stands where m does with equal sizes."""
        return self.samples / self.classes

    @property
    def counts(self) -> Float[Array, " classes"]:
        """m_c as an array."""
        return jnp.asarray(self.sizes, dtype=float)

    @property
    def labels(self) -> Int[np.ndarray, " samples"]:
        """The class of every sample."""
        return _labels(self.sizes)

    @property
    def lambda_single(self) -> Float[Array, " classes"]:
        """μ_c = κ_d − κ_c of each class, without effect for a class of one sample."""
        return self.diagonal - jnp.diagonal(self.pairs)

    @property
    def mean_kernel(self) -> Float[Array, "classes classes"]:
        """G, the kernel of the class means."""
        return self.pairs + jnp.diag(self.lambda_single / self.counts)

    @property
    def class_eigenvalues(self) -> Float[Array, " classes"]:
        """The C eigenvalues of D^½ G D^½, ascending: those of K on vectors constant on every class."""
        root = jnp.sqrt(self.counts)
        return jnp.linalg.eigvalsh(root[:, None] * self.mean_kernel * root)

    def apply(self, array: Float[Array, "*rows samples"]) -> Float[Array, "*rows samples"]:
        """``array @ K`` in O(N + C²) a row."""
        labels = self.labels
        sums = jnp.moveaxis(jax.ops.segment_sum(jnp.moveaxis(array, -1, 0), labels, self.classes), 0, -1)
        return array * self.lambda_single[labels] + (sums @ self.pairs)[..., labels]

    def as_matrix(self) -> Float[Array, "samples samples"]:
        """K as a dense N×N array, for tests and pictures."""
        return self.apply(jnp.eye(self.samples))

    def __str__(self) -> str:
        shown = f"{list(self.sizes)}" if self.classes <= 12 else f"{min(self.sizes)} to {max(self.sizes)} samples each"
        return f"ClassBlockKernel of {self.classes} classes, {self.samples} samples: {shown}"


def _labels(sizes: Sequence[int]) -> Int[np.ndarray, " samples"]:
    return np.repeat(np.arange(len(sizes)), sizes)
