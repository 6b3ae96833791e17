"""What block values and their errors need of a kernel: its sums over the classes, sample by sample."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.requirements import class_size


class SampleSums(eqx.Module):
    """Θ(xᵢ, xᵢ) and Σ_{j in b} Θ(xᵢ, xⱼ) for every sample i and class b: N(C + 1) numbers instead of N².

    Samples are sorted by class, m of each. For a kernel of gradients gᵢ these are ‖gᵢ‖² and ⟨gᵢ, Σ_{j in b} gⱼ⟩, so
    that they can be had without a matrix of samples by samples
    (:func:`ntkflow.kernels.network_block_values`). Leading axes are a stack of kernels.

    Attributes:
        diagonal: Θ(xᵢ, xᵢ).
        by_class: Σ_{j in b} Θ(xᵢ, xⱼ); the sample itself is in the sum over its own class.
    """

    diagonal: Float[Array, "*stack samples"]
    by_class: Float[Array, "*stack samples classes"]

    @staticmethod
    def from_matrix(matrix: Float[Array, "*stack samples samples"], classes: int) -> SampleSums:
        """The sums over rows of a kernel matrix, or of each of a stack.

        Raises:
            ValueError: samples that cannot be sorted into classes of equal size.
        """
        m = class_size(matrix.shape[-1], classes)
        by_class = jnp.sum(matrix.reshape(*matrix.shape[:-1], classes, m), axis=-1)
        return SampleSums(jnp.diagonal(matrix, axis1=-2, axis2=-1), by_class)

    @property
    def classes(self) -> int:
        """C."""
        return self.by_class.shape[-1]

    @property
    def samples(self) -> int:
        """N."""
        return self.by_class.shape[-2]

    @property
    def per_class(self) -> int:
        """m."""
        return self.samples // self.classes

    @property
    def rows(self) -> Float[Array, "*stack classes m classes"]:
        """The sums with the sample's own class as an axis: (own class, place in it, class summed over)."""
        stack = self.by_class.shape[:-2]
        return self.by_class.reshape(*stack, self.classes, self.per_class, self.classes)

    @property
    def own(self) -> Float[Array, "*stack classes m"]:
        """Σ over the sample's own class, the sample itself included."""
        return jnp.einsum("...aia->...ai", self.rows)

    @property
    def blocks(self) -> Float[Array, "*stack classes classes"]:
        """Σ over all pairs of samples of each two classes, diagonal included."""
        return jnp.sum(self.rows, axis=-2)

    def block_values(self) -> Float[Array, "3 *stack"]:
        """(d, c, n): means over the diagonal, over pairs of distinct samples of one class, and of two classes.

        Raises:
            ValueError: one sample a class, which leaves no pair for c, or one class, which leaves none for n.
        """
        classes, m = self.classes, self.per_class
        if m < 2 or classes < 2:
            what = "c is undefined with one sample a class" if m < 2 else "n is undefined with one class"
            raise ValueError(f"{what}: there is no such pair; take at least 2 samples of each of at least 2 classes")
        return _block_values(self)

    def mean(self) -> SampleSums:
        """The sums of the mean of a stack of kernels, over its first axis."""
        return SampleSums(jnp.mean(self.diagonal, axis=0), jnp.mean(self.by_class, axis=0))

    def scaled(self, factor: float) -> SampleSums:
        """The sums of ``factor`` times the kernel."""
        return SampleSums(factor * self.diagonal, factor * self.by_class)


@jax.jit
def _block_values(sums: SampleSums) -> Float[Array, "3 *stack"]:
    samples, m = sums.samples, sums.per_class
    diagonal = jnp.sum(sums.diagonal, axis=-1)
    same = jnp.sum(sums.own, axis=(-2, -1))
    total = jnp.sum(sums.by_class, axis=(-2, -1))
    d, c = diagonal / samples, (same - diagonal) / (samples * (m - 1))
    return jnp.stack([d, c, (total - same) / (samples * (samples - m))])
