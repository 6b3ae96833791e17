"""The flow under a Θʰ of any form that was measured at several moments: one after the other, or interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.flows.frozen import FrozenKernelFlow, refuse_logits
from ntkflow.flows.snapshot_times import Interpolation, SnapshotTimes
from ntkflow.flows.states import SampleState
from ntkflow.kernels import AbstractKernelOperator


class VaryingKernelFlow(AbstractSquaredErrorFlow[SampleState]):
    """Ḣ = −Θʰ(t)[WᵀR]/Z,  Ẇ = −RHᵀ/Z,  ḃ = −R1/Z, with Θʰ(t) from snapshots, held constant before the first and after
    the last.

    ``linear``: Θʰ is linear between two snapshots, two applications a right-hand side. ``constant``: Θʰ is that of the
    last snapshot so far, and jumps at each. What all snapshots share, as the samples, is held once.

    Args:
        times: of the snapshots, strictly increasing, in gradient-flow time of this Z.
        kernels: Θʰ at each, operators of one kind and size.
        targets: column c is the target of the samples of class c.
        loss_scale: Z.
        interpolation: between the snapshots.

    Raises:
        ValueError: no snapshot, another number of kernels than of times, times that do not increase, kernels of
            different kinds or sizes, kernels of logits.
    """

    snapshots: SnapshotTimes
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]
    _stacked: Any
    _shared: Any

    def __init__(
        self,
        times: Float[Array, " snapshots"],
        kernels: Sequence[AbstractKernelOperator],
        *,
        targets: Float[Array, "outputs classes"],
        loss_scale: float | Float[Array, ""],
        interpolation: Interpolation = "linear",
    ) -> None:
        self.snapshots = SnapshotTimes(times, interpolation, kernels=len(kernels))
        for kernel in kernels:
            refuse_logits(kernel)
        shapes = [
            jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), eqx.filter(item, eqx.is_array)) for item in kernels
        ]
        if any(shape != shapes[0] for shape in shapes[1:]):
            raise ValueError("the kernels of the snapshots must all be of one kind and size")
        differ = jax.tree.map(
            lambda first, *others: eqx.is_array(first) and any(other is not first for other in others), *kernels
        )
        moving = [eqx.partition(kernel, differ)[0] for kernel in kernels]
        self._stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *moving)
        self._shared = eqx.partition(kernels[0], differ)[1]
        self.targets = targets
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)

    @property
    def jump_times(self) -> Float[Array, " snapshots"]:
        """The snapshots: Θʰ has a kink or a jump there, and no step of the solver may go across."""
        return self.snapshots.values

    def vector_field(self, t: Float[Array, ""], state: SampleState, args: Any) -> SampleState:
        """The right-hand side with the kernel of time t."""
        piece, share = self.snapshots.locate(t)
        found = self._flow(piece).vector_field(t, state, args)
        if not self.snapshots.blends:
            return found
        later = self._flow(piece + 1).vector_field(t, state, args)
        return eqx.tree_at(lambda item: item.features, found, (1 - share) * found.features + share * later.features)

    def residual(self, state: SampleState) -> Float[Array, "outputs samples"]:
        """R = WH + b1ᵀ − Y."""
        return self._flow(jnp.asarray(0)).residual(state)

    def residual_norms(self, state: SampleState) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return self._flow(jnp.asarray(0)).residual_norms(state)

    def invariants(self, state: SampleState) -> dict[str, Float[Array, "..."]]:
        """None: a kernel that changes conserves nothing that is known."""
        return {}

    def _flow(self, piece: Int[Array, ""]) -> FrozenKernelFlow:
        kernel = eqx.combine(jax.tree.map(lambda leaf: leaf[piece], self._stacked), self._shared)
        return FrozenKernelFlow(kernel, targets=self.targets, loss_scale=self.loss_scale)
