"""A positive semi-definite kernel on training samples by its eigenspaces, and its rows to test samples."""

from __future__ import annotations

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class AbstractKernelModes(eqx.Module):
    """Θ(X, X) = Σ_i λ_i P_i and Θ(x, X), with λ_i ≥ 0 and orthogonal projectors P_i, acting on outputs × samples.

    An eigenvalue that is 0 up to rounding is exactly 0 here, and Θ(x, X) is 0 on its eigenspace. In exact arithmetic
    that is so: ⟨Θ(x, ·), u⟩² ≤ Θ(x, x) ⟨u, Θu⟩ by Cauchy–Schwarz. Left in, rounding there would grow like t.
    """

    eigenvalues: eqx.AbstractVar[Float[Array, " modes"]]

    @property
    @abc.abstractmethod
    def samples(self) -> int:
        """N."""

    @property
    @abc.abstractmethod
    def test_samples(self) -> int:
        """How many test samples there are rows for."""

    @property
    @abc.abstractmethod
    def multiplicities(self) -> Float[Array, " modes"]:
        """Dimension of each eigenspace in the space of one output, or of all outputs where they are coupled."""

    @abc.abstractmethod
    def apply(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """Θ(X, X)[array], without the eigenspaces."""

    @abc.abstractmethod
    def apply_cross(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs test_samples"]:
        """Θ(x, X)[array], without the eigenspaces."""

    @abc.abstractmethod
    def filtered(
        self, factors: Float[Array, " modes"], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs samples"]:
        """Σ_i factors_i P_i[array]."""

    @abc.abstractmethod
    def filtered_cross(
        self, factors: Float[Array, " modes"], array: Float[Array, "outputs samples"]
    ) -> Float[Array, "outputs test_samples"]:
        """Θ(x, X)[Σ_i factors_i P_i[array]], over the modes with λ_i > 0."""

    @abc.abstractmethod
    def energies(self, array: Float[Array, "outputs samples"]) -> Float[Array, " modes"]:
        """‖P_i[array]‖² of every mode; they add up to ‖array‖²."""


def semidefinite_eigenvalues(
    measured: Float[Array, " modes"], largest: Float[Array, " _"], share: float
) -> Float[Array, " modes"]:
    """The eigenvalues with those that are 0 up to rounding at 0. Raises ``ValueError`` where one is negative beyond."""
    bound = share * max(float(jnp.max(largest)), 0.0)
    least = float(jnp.min(measured))
    if least < -bound:
        raise ValueError(
            f"a kernel must be positive semi-definite, but this one has the eigenvalue {least:.3g} beside the largest "
            f"{float(jnp.max(largest)):.3g}, below the tolerance of -{bound:.3g}"
        )
    return jnp.where(measured > bound, measured, 0.0)
