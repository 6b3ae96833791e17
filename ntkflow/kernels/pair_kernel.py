"""A positive semi-definite function of two inputs, a block of pairs at a time."""

from __future__ import annotations

import abc
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.classical import rbf_kernel


class AbstractPairKernel(eqx.Module):
    """Θ(x, x') of one output, which every output has and between outputs is 0. All of it works inside ``jax.jit``."""

    @abc.abstractmethod
    def block(
        self, rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."]
    ) -> Float[Array, "rows columns"]:
        """Θ of every row with every column."""

    @abc.abstractmethod
    def own_block(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "samples samples"]:
        """Θ of every input with every other, symmetric to the last bit."""

    @abc.abstractmethod
    def diagonal(self, inputs: Float[Array, "samples ..."]) -> Float[Array, " samples"]:
        """Θ(x, x). Outside ``jax.jit`` it raises ``ValueError`` for inputs that the kernel is not defined for."""


@final
class GaussianPairs(AbstractPairKernel):
    """exp(−‖x − x'‖²/(2ℓ²)), as :func:`rbf_kernel`.

    Args:
        length_scale: ℓ > 0.

    Raises:
        ValueError: a length scale that is not positive.
    """

    length_scale: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not self.length_scale > 0:
            raise ValueError(f"length_scale must be positive, not {self.length_scale}")

    def block(
        self, rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."]
    ) -> Float[Array, "rows columns"]:
        """Θ of every row with every column."""
        return rbf_kernel(rows, columns, length_scale=self.length_scale)

    def own_block(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "samples samples"]:
        """Θ of every input with every other."""
        found = self.block(inputs, inputs)
        return (found + found.T) / 2

    def diagonal(self, inputs: Float[Array, "samples ..."]) -> Float[Array, " samples"]:
        """1."""
        return jnp.ones(inputs.shape[0], inputs.dtype)
