"""A block kernel by its three eigenspaces."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.flows.kernel_modes import AbstractKernelModes, semidefinite_eigenvalues
from ntkflow.kernels import BlockKernel, split_eigenspaces


class BlockModes(AbstractKernelModes):
    """A block kernel by its three eigenspaces, never formed as a matrix. Make it with :meth:`of`."""

    eigenvalues: Float[Array, " modes"]
    kernel: BlockKernel
    cross: Float[Array, "test_samples samples"]

    @classmethod
    def of(
        cls,
        kernel: BlockKernel,
        cross: Float[Array, "test_samples samples"] | None = None,
        *,
        tolerance: float | None = None,
    ) -> BlockModes:
        """The modes of a block kernel.

        Args:
            kernel: Θ(X, X) of every output; between two outputs it is 0.
            cross: Θ(x, X); without it there are no test samples.
            tolerance: as in :meth:`DenseModes.of`.

        Raises:
            ValueError: rows of another number of samples, an eigenvalue more negative than the tolerance, or rows that
                are not 0 where the kernel is.
        """
        rows = jnp.zeros((0, kernel.samples)) if cross is None else cross
        if rows.shape[1] != kernel.samples:
            raise ValueError(f"a kernel of {kernel.samples} samples needs rows of as many, not of {rows.shape[1]}")
        share = 10 * kernel.samples * float(np.finfo(float).eps) if tolerance is None else tolerance
        # An eigenspace of dimension 0 has no say.
        there = jnp.asarray(kernel.multiplicities) > 0
        measured = jnp.where(there, kernel.eigenvalues, 0.0)
        eigenvalues = semidefinite_eigenvalues(measured, measured, share)
        parts = split_eigenspaces(rows, kernel.classes).parts()
        sizes = jnp.max(jnp.abs(parts), axis=(1, 2), initial=0.0)
        outside = float(jnp.max(jnp.where(eigenvalues > 0, 0.0, sizes)))
        if outside > share**0.5 * max(float(jnp.max(eigenvalues)), float(jnp.max(sizes))):
            raise ValueError(
                f"the rows to test samples reach {outside:.3g} on an eigenspace where the block kernel is 0: no "
                "positive semi-definite kernel has both"
            )
        return cls(eigenvalues, kernel, jnp.sum(jnp.where((eigenvalues > 0)[:, None, None], parts, 0.0), axis=0))

    @property
    def samples(self) -> int:
        """N."""
        return self.kernel.samples

    @property
    def test_samples(self) -> int:
        """How many test samples there are rows for."""
        return self.cross.shape[0]

    @property
    def multiplicities(self) -> Float[Array, " modes"]:
        """1, C − 1, N − C."""
        return jnp.asarray(self.kernel.multiplicities, dtype=float)

    def apply(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """Θ(X, X)[array] in O(N) an output."""
        return self.kernel.apply(array)

    def apply_cross(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs test_samples"]:
        """Θ(x, X)[array]."""
        return array @ self.cross.T

    def filtered(
        self, factors: Float[Array, " modes"], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs samples"]:
        """Σ_i factors_i P_i[array]."""
        return jnp.einsum("e,eki->ki", factors, split_eigenspaces(array, self.kernel.classes).parts())

    def filtered_cross(
        self, factors: Float[Array, " modes"], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs test_samples"]:
        """Θ(x, X)[Σ_i factors_i P_i[array]], over the modes with λ_i > 0."""
        return self.filtered(jnp.where(self.eigenvalues > 0, factors, 0.0), array) @ self.cross.T

    def energies(self, array: Float[Array, "outputs samples"]) -> Float[Array, " modes"]:
        """‖P_i[array]‖² of the three eigenspaces."""
        return split_eigenspaces(array, self.kernel.classes).norms() ** 2
