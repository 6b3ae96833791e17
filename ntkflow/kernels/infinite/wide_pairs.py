"""One of the two kernels of an infinitely wide network as a function of two inputs."""

from __future__ import annotations

from typing import Literal, final

import equinox as eqx
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.fully_connected import FullyConnectedKernel
from ntkflow.kernels.pair_kernel import AbstractPairKernel


@final
class WidePairs(AbstractPairKernel):
    """The NTK or the NNGP of a fully connected network of infinite width, a block of pairs at a time.

    Args:
        kernel: the network.
        which: ``"ntk"`` or ``"nngp"``.
    """

    kernel: FullyConnectedKernel
    which: Literal["ntk", "nngp"] = eqx.field(static=True, default="ntk")

    def block(
        self, rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."]
    ) -> Float[Array, "rows columns"]:
        """Θ or K of every row with every column."""
        return getattr(self.kernel.kernels(rows, columns), self.which)

    def own_block(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "samples samples"]:
        """The same of every input with every other; half the pairs are computed."""
        return getattr(self.kernel.kernels(inputs), self.which)

    def diagonal(self, inputs: Float[Array, "samples ..."]) -> Float[Array, " samples"]:
        """Of every input with itself. Raises ``ValueError`` as :meth:`FullyConnectedKernel.kernels` does."""
        return getattr(self.kernel.diagonals(inputs), self.which)
