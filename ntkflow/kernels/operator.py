"""What a kernel of many outputs does to one array over outputs and samples, whatever it is made of."""

from __future__ import annotations

import abc

import equinox as eqx
from jaxtyping import Array, Float


class AbstractKernelOperator(eqx.Module):
    """A symmetric operator on arrays neurons × samples: X ↦ Σ_{q,j} Θ_{p,q}(xᵢ, xⱼ) X_{q,j}."""

    @abc.abstractmethod
    def apply(self, array: Float[Array, "neurons samples"]) -> Float[Array, "neurons samples"]:
        """The operator on one array."""
