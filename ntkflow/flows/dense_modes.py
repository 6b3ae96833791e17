"""A kernel given as a matrix, by one eigendecomposition."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.kernel_modes import AbstractKernelModes, semidefinite_eigenvalues
from ntkflow.kernels import empirical_ntk

_Square = Float[Array, "samples samples"] | Float[Array, "outputs samples outputs samples"]
_Rows = Float[Array, "test_samples samples"] | Float[Array, "outputs test_samples outputs samples"]


class DenseModes(AbstractKernelModes):
    """A kernel given as a matrix, by one eigendecomposition. Make it with :meth:`of` or :meth:`of_network`.

    Either one N×N kernel for every output and 0 between outputs, or the whole (kN)×(kN) kernel of all pairs
    (output, sample). The second is a kernel on k·N samples of one output; that is how it is stored.
    """

    eigenvalues: Float[Array, " modes"]
    matrix: Float[Array, "modes modes"]
    basis: Float[Array, "modes modes"]
    cross: Float[Array, "test_rows modes"]
    cross_basis: Float[Array, "test_rows modes"]
    outputs: int | None = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        matrix: Float[Array, "samples samples"] | Float[Array, "outputs samples outputs samples"],
        cross: Float[Array, "test_samples samples"]
        | Float[Array, "outputs test_samples outputs samples"]
        | None = None,
        *,
        tolerance: float | None = None,
    ) -> DenseModes:
        """The modes of a kernel matrix.

        Args:
            matrix: Θ(X, X): two axes for a kernel that all outputs share, four for a coupled one.
            cross: Θ(x, X) with as many axes; without it there are no test samples.
            tolerance: an eigenvalue up to this share of the largest counts as 0, of either sign; ten times the size
                of the matrix times the machine precision unless told.

        Raises:
            ValueError: shapes that do not fit, numbers that are not finite, a matrix that is not symmetric or has an
                eigenvalue more negative than the tolerance, or rows that are not 0 where the matrix is.
        """
        outputs = matrix.shape[0] if matrix.ndim == 4 else None
        samples = matrix.shape[-1]
        expected = (samples, samples) if outputs is None else (outputs, samples, outputs, samples)
        if cross is None:
            cross = jnp.zeros((0, samples) if outputs is None else (outputs, 0, outputs, samples))
        if matrix.shape != expected or cross.ndim != matrix.ndim or cross.shape[-1] != samples:
            raise ValueError(
                f"a kernel of shape {matrix.shape} with rows of shape {cross.shape} fits no set of samples"
            )
        if outputs is not None and (cross.shape[0], cross.shape[2]) != (outputs, outputs):
            raise ValueError(f"a kernel of {outputs} outputs needs rows of as many, not of shape {cross.shape}")
        size = samples * (outputs or 1)
        flat, rows = matrix.reshape(size, size), cross.reshape(-1, size)
        if not bool(jnp.all(jnp.isfinite(flat)) & jnp.all(jnp.isfinite(rows))):
            raise ValueError("the kernel has numbers that are not finite")
        share = 10 * size * float(jnp.finfo(flat.dtype).eps) if tolerance is None else tolerance
        asymmetry = float(jnp.max(jnp.abs(flat - flat.T)))
        if asymmetry > share * float(jnp.max(jnp.abs(flat))):
            raise ValueError(f"a kernel must be symmetric, but entries differ by {asymmetry:.3g} from their mirror")
        symmetric = (flat + flat.T) / 2
        measured, basis = jnp.linalg.eigh(symmetric)
        eigenvalues = semidefinite_eigenvalues(measured, measured[-1:], share)
        # Null modes leave the rows: see the class above.
        cross_basis = rows @ basis
        outside = float(jnp.max(jnp.abs(jnp.where(eigenvalues > 0, 0.0, cross_basis)), initial=0.0))
        scale = max(float(measured[-1]), float(jnp.max(jnp.abs(cross_basis), initial=0.0)))
        if outside > share**0.5 * scale:
            raise ValueError(
                f"the rows to test samples reach {outside:.3g} where the kernel's eigenvalue is 0: no positive "
                "semi-definite kernel has both, so the two belong to different kernels"
            )
        return cls(eigenvalues, symmetric, basis, rows, jnp.where(eigenvalues > 0, cross_basis, 0.0), outputs)

    @classmethod
    def of_network(
        cls,
        network: Any,
        inputs: Float[Array, "samples ..."],
        test_inputs: Float[Array, "test_samples ..."] | None = None,
    ) -> DenseModes:
        """The modes of a network's empirical kernel Θ_{k,s}(xᵢ, xⱼ) at its present parameters, all pairs kept.

        Raises ``ValueError`` as :meth:`of` does.
        """
        cross = None if test_inputs is None else empirical_ntk(network, test_inputs, inputs).values
        return cls.of(empirical_ntk(network, inputs).values, cross)

    @property
    def samples(self) -> int:
        """N."""
        return self.matrix.shape[0] // (self.outputs or 1)

    @property
    def test_samples(self) -> int:
        """How many test samples there are rows for."""
        return self.cross.shape[0] // (self.outputs or 1)

    @property
    def multiplicities(self) -> Float[Array, " modes"]:
        """1 each: every eigenvector is a mode of its own."""
        return jnp.ones_like(self.eigenvalues)

    def apply(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """Θ(X, X)[array]."""
        return (self._flat(array) @ self.matrix).reshape(array.shape)

    def apply_cross(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs test_samples"]:
        """Θ(x, X)[array]."""
        return (self._flat(array) @ self.cross.T).reshape(array.shape[0], self.test_samples)

    def filtered(
        self, factors: Float[Array, " modes"], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs samples"]:
        """Σ_i factors_i P_i[array]."""
        return (self._flat(array) @ self.basis * factors @ self.basis.T).reshape(array.shape)

    def filtered_cross(
        self, factors: Float[Array, " modes"], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs test_samples"]:
        """Θ(x, X)[Σ_i factors_i P_i[array]], over the modes with λ_i > 0."""
        rows = self._flat(array) @ self.basis * factors @ self.cross_basis.T
        return rows.reshape(array.shape[0], self.test_samples)

    def energies(self, array: Float[Array, "outputs samples"]) -> Float[Array, " modes"]:
        """‖P_i[array]‖² of every mode."""
        return jnp.sum((self._flat(array) @ self.basis) ** 2, axis=0)

    def _flat(self, array: Float[Array, "outputs samples"]) -> Float[Array, "rows modes"]:
        return array if self.outputs is None else array.reshape(1, -1)
