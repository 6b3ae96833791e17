"""Expectations over one ReLU layer: how many of its neurons are active, and the χ² variables of that many degrees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ntkflow.errors import UserError

Numbers = Float[np.ndarray, "..."] | float
"""An array, or one number: NumPy makes a number of every array without axes that it computes with."""


def checked_widths(widths: Sequence[int]) -> Float[np.ndarray, " depth"]:
    """(n_0, …, n_{L-1}) as floats.

    Raises:
        UserError: no width, or one that is no whole number of at least 1.
    """
    values = np.asarray(widths)
    if values.ndim != 1 or values.size == 0 or np.any(values < 1) or np.any(values != np.rint(values)):
        raise UserError(
            f"widths are whole numbers of at least 1, but are {list(widths)}",
            place="widths (n_0, …, n_{L-1})",
            remedy="Give the input dimension and the width of every hidden layer; the output dimension, 1, is no part.",
        )
    return values.astype(float)


def checked_sigma(sigma_w: Numbers) -> Float[np.ndarray, "..."]:
    """σ_w as an array.

    Raises:
        UserError: a negative or infinite one.
    """
    values = np.asarray(sigma_w, float)
    if not np.all(np.isfinite(values) & (values >= 0)):
        raise UserError(
            "standard deviations of weights are finite and not negative",
            place="sigma_w",
            remedy="Give σ_w, not its logarithm; σ_w = 0 is allowed.",
        )
    return values


@dataclasses.dataclass(frozen=True)
class LayerNumbers:
    """Logarithms of expectations over k ~ Binomial(n, 1/2), all with the indicator of k ≥ 1; A ~ χ²_k, B ~ χ²_{k−1}.

    Attributes:
        alive: of 1.
        forward: of A.
        forward_squared: of A².
        backward: of B.
        backward_squared: of B².
        both: of A B, A and B independent for a given k.
    """

    alive: Float[np.ndarray, " layers"]
    forward: Float[np.ndarray, " layers"]
    forward_squared: Float[np.ndarray, " layers"]
    backward: Float[np.ndarray, " layers"]
    backward_squared: Float[np.ndarray, " layers"]
    both: Float[np.ndarray, " layers"]

    @staticmethod
    def of(widths: Float[np.ndarray, " layers"]) -> LayerNumbers:
        """From E k = n/2, E k² = n(n + 1)/4 and P(k ≥ 1) = 1 − 2^(−n)."""
        n = widths
        alive = -np.expm1(-n * np.log(2))
        with np.errstate(divide="ignore"):  # Of one neuron B is zero.
            return LayerNumbers(
                alive=np.log(alive),
                forward=np.log(n / 2),
                forward_squared=np.log(n * (n + 5) / 4),
                backward=np.log(np.maximum(n / 2 - alive, 0)),
                backward_squared=np.log(np.maximum(n * (n + 1) / 4 - alive, 0)),
                both=np.log(n * (n - 1) / 4),
            )
