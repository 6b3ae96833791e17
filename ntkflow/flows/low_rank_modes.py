"""A kernel of low rank by its eigenspaces: those in the span of a few samples, and all the rest, where it is 0."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.kernel_modes import AbstractKernelModes, semidefinite_eigenvalues
from ntkflow.kernels import NystromKernel


class LowRankModes(AbstractKernelModes):
    """Nyström's Θ̃ in memory O(r N), the same for every output. Make it with :meth:`of`.

    The last mode is everything that Θ̃ does not see: the eigenvalue 0, N − r times.
    """

    eigenvalues: Float[Array, " modes"]
    basis: Float[Array, "rank samples"]
    cross_basis: Float[Array, "test_samples rank"]

    @classmethod
    def of(
        cls,
        kernel: NystromKernel,
        test_inputs: Float[Array, "tests ..."] | None = None,
        *,
        tolerance: float | None = None,
    ) -> LowRankModes:
        """The modes of Θ̃, by a singular value decomposition of its factor.

        Args:
            kernel: Θ̃(X, X).
            test_inputs: x of the rows Θ̃(x, X); without them there are no test samples.
            tolerance: as in :meth:`DenseModes.of`.

        Raises:
            ValueError: test inputs that the kernel is not defined for.
        """
        samples = kernel.factor.shape[1]
        share = 10 * samples * float(jnp.finfo(kernel.factor.dtype).eps) if tolerance is None else tolerance
        left, singular, basis = jnp.linalg.svd(kernel.factor, full_matrices=False)
        eigenvalues = semidefinite_eigenvalues(singular**2, singular[:1] ** 2, share)
        if test_inputs is None:
            cross_basis = jnp.zeros((0, kernel.rank))
        else:
            kernel.kernel.test_diagonal(test_inputs)
            # F = left · diag(singular) · basis, and Θ̃(x, X) = φ(x)ᵀF.
            cross_basis = kernel.features(test_inputs).T @ left * jnp.where(eigenvalues > 0, singular, 0.0)
        return cls(jnp.append(eigenvalues, 0.0), basis, cross_basis)

    @property
    def samples(self) -> int:
        """N."""
        return self.basis.shape[1]

    @property
    def test_samples(self) -> int:
        """How many test samples there are rows for."""
        return self.cross_basis.shape[0]

    @property
    def multiplicities(self) -> Float[Array, " modes"]:
        """1 each, and N − r."""
        return jnp.ones_like(self.eigenvalues).at[-1].set(self.samples - self.basis.shape[0])

    def apply(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """Θ̃(X, X)[array]."""
        return self.filtered(self.eigenvalues, array)

    def apply_cross(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs test_samples"]:
        """Θ̃(x, X)[array]."""
        return array @ self.basis.T @ self.cross_basis.T

    def filtered(
        self, factors: Float[Array, " modes"], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs samples"]:
        """Σ_i factors_i P_i[array]."""
        seen = array @ self.basis.T
        return (seen * factors[:-1]) @ self.basis + factors[-1] * (array - seen @ self.basis)

    def filtered_cross(
        self, factors: Float[Array, " modes"], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs test_samples"]:
        """Θ̃(x, X)[Σ_i factors_i P_i[array]], over the modes with λ_i > 0."""
        return (array @ self.basis.T * factors[:-1]) @ self.cross_basis.T

    def energies(self, array: Float[Array, "outputs samples"]) -> Float[Array, " modes"]:
        """‖P_i[array]‖² of every mode; the last is what Θ̃ does not see."""
        seen = array @ self.basis.T
        return jnp.append(jnp.sum(seen**2, axis=0), jnp.sum((array - seen @ self.basis) ** 2))


@eqx.filter_jit
def nystrom_error_bound(
    kernel: NystromKernel, force: Float[Array, "outputs samples"], ridge: float | Float[Array, ""]
) -> Float[Array, ""]:
    """‖force‖_F τ/(τ + ρ), τ = tr(Θ − Θ̃): no further are the limits t → ∞ with Θ and with Θ̃ on the training samples.

    f(X) − f₀(X) = Θ(Θ + ρ)⁻¹[force]; t ↦ t/(t + ρ) is operator monotone and 0 at 0, so ‖h(A) − h(B)‖ ≤ h(‖A − B‖) for
    A, B ≽ 0 (Bhatia, Matrix Analysis, Theorem X.1.1), and ‖Θ − Θ̃‖ ≤ τ. Without ridge it is ‖force‖_F and says nothing.

    Args:
        kernel: Θ̃.
        force: Y − f₀(X).
        ridge: ρ ≥ 0.
    """
    left = kernel.trace_error
    both = left + ridge
    return jnp.linalg.norm(force) * jnp.where(both > 0, left / jnp.where(both > 0, both, 1.0), 0.0)
