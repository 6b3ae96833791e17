"""The flow with block values of their own for every class and pair of classes: specialisation."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.class_blocks import AbstractClassBlockFlow, class_targets, what_is_not_positive
from ntkflow.kernels import ClassBlockKernel


class ClassValuesFlow(AbstractClassBlockFlow):
    """:class:`ntkflow.flows.AbstractClassBlockFlow` with κ_d and κ_c of each class and κ_n of each pair of classes.

    μ_c = κ_d − κ_c differs from class to class, so the scatters S_c move at their own pace and are carried one by one:
    the columns of F are C equal groups in the order of the classes. Without single samples each has at most n columns.
    It follows from paper 3, (1), with Θʰ = K for each feature and zero between two; the sources have no formula for it.

    Args:
        kernel: Θʰ of each feature; its sizes may be unequal too.
        loss_scale: Z.
        targets: T, column c the target of class c; the identity for one-hot labels.

    Raises:
        ValueError: targets for another number of classes than the kernel's; later, a state whose F cannot be cut into
            C equal groups.
    """

    kernel: ClassBlockKernel
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]
    has_invariant: bool = eqx.field(static=True)

    def __init__(
        self,
        kernel: ClassBlockKernel,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
    ) -> None:
        self.kernel = kernel
        self.targets = class_targets(kernel, targets)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.has_invariant = not what_is_not_positive(kernel)

    @property
    def column_groups(self) -> int:
        """C."""
        return self.kernel.classes

    def column_rates(self, columns: int) -> Float[Array, "..."]:
        """μ_c for every column of class c's group. Raises ``ValueError`` if the groups cannot be equal."""
        classes = self.kernel.classes
        if columns % classes:
            raise ValueError(
                f"{columns} columns cannot be cut into {classes} equal groups, one a class: "
                "make the state with the flow's initial()"
            )
        return jnp.repeat(self.kernel.lambda_single, columns // classes)
