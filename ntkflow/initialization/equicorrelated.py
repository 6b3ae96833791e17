"""The data-independent part of a deep network's kernel: one value on the diagonal, one beside it, and what follows."""

from __future__ import annotations

import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


@final
class EquicorrelatedKernel(eqx.Module):
    """Θ̄* = (d − e) I + e 11ᵀ on S samples (paper 1, after Lemma 2), d = αM κ̄₁ and e = αM κ̄₂.

    Args:
        diagonal: d > 0.
        off_diagonal: e, at least −d/(S − 1) and at most d: else it is no kernel.
        samples: S ≥ 1.

    Raises:
        ValueError: values outside these ranges.
    """

    diagonal: float = eqx.field(static=True)
    off_diagonal: float = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.samples < 1 or not 0 < self.diagonal < math.inf:
            raise ValueError(
                f"a kernel needs a sample and a positive diagonal, not {self.samples} and {self.diagonal:g}"
            )
        lowest = -self.diagonal / max(self.samples - 1, 1)
        if not lowest * (1 + 1e-12) <= self.off_diagonal <= self.diagonal * (1 + 1e-12):
            raise ValueError(
                f"no kernel has {self.off_diagonal:g} beside a diagonal of {self.diagonal:g} on {self.samples} "
                f"samples: it must be between {lowest:g} and {self.diagonal:g}"
            )

    @property
    def mean_eigenvalue(self) -> float:
        """d + (S − 1)e, of the vector 1: the mean over samples."""
        return self.diagonal + (self.samples - 1) * self.off_diagonal

    @property
    def difference_eigenvalue(self) -> float:
        """d − e, with multiplicity S − 1: differences of samples."""
        return max(self.diagonal - self.off_diagonal, 0.0)

    @property
    def condition_number(self) -> float:
        """The larger eigenvalue over the smaller, (κ̄₁/κ̄₂ + S − 1)/(κ̄₁/κ̄₂ − 1) for κ̄₂ > 0; 1 for one sample.

        d − e is a difference, so that above 10¹⁴ it is rounding.
        """
        if self.samples == 1:
            return 1.0
        low, high = sorted((self.mean_eigenvalue, self.difference_eigenvalue))
        return math.inf if low <= 0 else high / low

    def step_limit(self, loss_scale: float) -> float:
        """2Z/λ_max, below which gradient descent on ‖R‖²/(2Z) with this kernel is stable."""
        return 2 * loss_scale / max(self.mean_eigenvalue, self.difference_eigenvalue if self.samples > 1 else 0.0)

    @property
    def data_weight(self) -> float:
        """A = S e/(d + (S − 1)e) (Theorem 3): the share of the training outputs' mean that a new output takes."""
        return self.samples * self.off_diagonal / self.mean_eigenvalue

    def matrix(self) -> Float[Array, "samples samples"]:
        """Θ̄* as an array."""
        beside = jnp.full((self.samples, self.samples), self.off_diagonal)
        return beside + (self.diagonal - self.off_diagonal) * jnp.eye(self.samples)


def trained_variance(kernel: EquicorrelatedKernel, variance: float, covariance: float) -> float:
    """Var f^∞(x) = (1 + A²/S)(q − q_sr) + (A − 1)² q_sr (paper 1, Theorem 3), over random starts at fixed data.

    Exact, and not approximate, for gradient flow to t → ∞ with the constant kernel Θ̄* on S training samples and a new
    one, from outputs of variance q and covariance q_sr: f^∞(x) = f⁰(x) + (A/S) Σ_s (y_s − f⁰(x_s)). For a network it
    is as good as Θ̄* and these two numbers are for its samples. The theorem's text has the variance over the data as
    well, whose part in the targets is not in the formula.

    Args:
        kernel: Θ̄*, with e < d.
        variance: q^L ≥ 0 of an output at the start.
        covariance: q_sr^L of two outputs.
    """
    weight, samples = kernel.data_weight, kernel.samples
    return (1 + weight**2 / samples) * (variance - covariance) + (weight - 1) ** 2 * covariance
