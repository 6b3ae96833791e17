"""The flow with classes of unequal sizes and one set of block values for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.class_blocks import AbstractClassBlockFlow, class_targets, what_is_not_positive
from ntkflow.kernels import ClassBlockKernel


class UnequalClassFlow(AbstractClassBlockFlow):
    """:class:`ntkflow.flows.AbstractClassBlockFlow` with class c of m_c samples and the same κ_d, κ_c, κ_n for all:

    Ḣ₁ = −WᵀR₁D(μI + (κ_c − κ_n)D + κ_n 11ᵀD)D⁻¹/Z,  Ḟ = −μWᵀWF/Z,  Ẇ = −(R₁DH₁ᵀ + (N/C)WFFᵀ)/Z,  ḃ = −R₁D1/Z,

    with μ = κ_d − κ_c and D = diag(m_c). It follows from paper 3, (19), with classes of unequal sizes, and is (25) with
    equal ones. One μ for all classes, so only the sum over classes of their scatters matters: without single samples F
    has at most n columns.

    Args:
        diagonal: κ_d.
        same_class: κ_c.
        different_class: κ_n.
        sizes: m_c, one for each class.
        loss_scale: Z. Every sample has the same weight in the loss, so a large class has more of it.
        targets: T, column c the target of class c; the identity for one-hot labels.

    Raises:
        ValueError: sizes below 1, or targets for another number of classes than there are sizes.
    """

    kernel: ClassBlockKernel
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]
    has_invariant: bool = eqx.field(static=True)

    def __init__(
        self,
        diagonal: float | Float[Array, ""],
        same_class: float | Float[Array, ""],
        different_class: float | Float[Array, ""],
        *,
        sizes: Sequence[int],
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
    ) -> None:
        self.kernel = ClassBlockKernel.common(diagonal, same_class, different_class, sizes=sizes)
        self.targets = class_targets(self.kernel, targets)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.has_invariant = not what_is_not_positive(self.kernel)

    @property
    def column_groups(self) -> int:
        """One: all classes share μ."""
        return 1

    def column_rates(self, columns: int) -> Float[Array, "..."]:
        """μ = κ_d − κ_c."""
        return self.kernel.lambda_single[0]
