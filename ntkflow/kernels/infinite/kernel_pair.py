"""Two kernels of the same infinitely wide network."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Float


class KernelPair(NamedTuple):
    """Two kernels of the same inputs, of one shape: (rows, columns), (samples,) or (depth, rows, columns).

    Attributes:
        nngp: covariance of one output over random networks.
        ntk: tangent kernel Θ of one output; between two outputs it is 0.
    """

    nngp: Float[Array, "..."]
    ntk: Float[Array, "..."]
