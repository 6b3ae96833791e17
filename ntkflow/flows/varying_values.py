"""Block values that change in time: measured at snapshots, and interpolated between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.class_means import ClassFlow
from ntkflow.flows.frame import Frame
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.invariant_law import AbstractInvariantLawFlow
from ntkflow.flows.snapshot_times import Interpolation, SnapshotTimes
from ntkflow.flows.states import ClassState
from ntkflow.kernels import BlockKernel


class VaryingValuesFlow(AbstractInvariantLawFlow):
    """The class flow (25) with κ(t) = (κ_d, κ_c, κ_n) from snapshots, held constant before the first and after the
    last.

    ``linear``: κ is linear between two snapshots. ``constant``: κ is that of the last snapshot so far, and jumps at
    each. H₂ is only ever multiplied from the left, so any factor F of the scatter S = FFᵀ may be carried across the
    snapshots, and the cost does not depend on N (:meth:`ClassFlow.starting_at`).

    E(t) is (26) with the values of the moment. With B = μ_class I + κ_n m 11ᵀ, so that A/μ_class = B⁻¹,

    Ė = H₁B⁻¹ḂB⁻¹H₁ᵀ + S μ̇_single/μ_single²,

    and where κ jumps, E jumps by H₁(B₋⁻¹ − B₊⁻¹)H₁ᵀ + S(1/μ_single₋ − 1/μ_single₊).

    Args:
        times: of the snapshots, strictly increasing, in gradient-flow time of this Z.
        kernels: Θʰ at each, for the same classes and samples.
        loss_scale: Z.
        targets: T; the identity unless told.
        frame: the coordinates of the state, as for :class:`ClassFlow`.
        interpolation: between the snapshots.

    Raises:
        ValueError: no snapshot, another number of kernels than of times, times that do not increase, kernels of
            different sizes.
    """

    flow: ClassFlow
    loss_scale: Float[Array, ""]
    values: Float[Array, "snapshots 3"]
    snapshots: SnapshotTimes

    def __init__(
        self,
        times: Float[Array, " snapshots"],
        kernels: Sequence[BlockKernel],
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
        frame: Frame | None = None,
        interpolation: Interpolation = "linear",
    ) -> None:
        self.snapshots = SnapshotTimes(times, interpolation, kernels=len(kernels))
        if len({(kernel.classes, kernel.per_class) for kernel in kernels}) > 1:
            raise ValueError("the kernels of the snapshots must all have the same classes and samples")
        self.flow = ClassFlow(kernels[0], loss_scale=loss_scale, targets=targets, frame=frame)
        self.loss_scale = self.flow.loss_scale
        self.values = jnp.stack(
            [jnp.stack([kernel.diagonal, kernel.same_class, kernel.different_class]) for kernel in kernels]
        )

    @property
    def times(self) -> Float[Array, " snapshots"]:
        """Of the snapshots."""
        return self.snapshots.values

    @property
    def interpolation(self) -> Interpolation:
        """Between the snapshots."""
        return self.snapshots.interpolation

    @property
    def jump_times(self) -> Float[Array, " snapshots"]:
        """The snapshots: κ has a kink or a jump there, and no step of the solver may go across."""
        return self.times

    def kernel_at(self, t: float | Float[Array, ""]) -> BlockKernel:
        """Θʰ at a time; at a jump, the value after it."""
        piece, share = self.snapshots.locate(jnp.asarray(t, dtype=float))
        values = self.values[piece]
        if self.snapshots.blends:
            values = (1 - share) * values + share * self.values[piece + 1]
        return self._kernel(values)

    def kernel_rate(self, t: float | Float[Array, ""]) -> BlockKernel:
        """dΘʰ/dt, again a block kernel; at a snapshot, the value after it. 0 while κ is held constant."""
        return self._kernel(self._slope(jnp.asarray(t, dtype=float)))

    def vector_field(self, t: Float[Array, ""], state: ClassState, args: Any) -> ClassState:
        """The right-hand side of (25) over Z with the values of time t."""
        return self._at(t).vector_field(t, state, args)

    def loss(self, state: ClassState) -> Float[Array, ""]:
        """‖R‖²_F/(2Z)."""
        return self.flow.loss(state)

    def invariant(self, t: Float[Array, ""], state: ClassState) -> Float[Array, "dims dims"]:
        """E of (26) with the values of time t."""
        return InvariantSides.of(state, self.kernel_at(t)).invariant

    def invariant_rate(self, t: Float[Array, ""], state: ClassState) -> Float[Array, "dims dims"]:
        """Ė between the snapshots; 0 while κ is held constant."""
        kernel, rate = self.kernel_at(t), self.kernel_rate(t)
        means, m = state.class_means, kernel.per_class
        # G = H₁B⁻¹, and Ḃ = μ̇_class I + κ̇_n m 11ᵀ.
        g = (means - kernel.alpha * jnp.sum(means, axis=1, keepdims=True)) / kernel.lambda_class
        total = jnp.sum(g, axis=1)
        between = rate.lambda_class * (g @ g.T) + rate.different_class * m * jnp.outer(total, total)
        if m == 1:
            return between
        return between + state.within @ state.within.T * (rate.lambda_single / kernel.lambda_single**2)

    def invariant_jump(self, snapshot: int, state: ClassState) -> Float[Array, "dims dims"]:
        """What E jumps by at a snapshot whose values replace the ones before; 0 where κ is continuous."""
        if self.interpolation == "linear":
            return jnp.zeros_like(state.class_means @ state.class_means.T)
        earlier = InvariantSides.of(state, self._kernel(self.values[max(snapshot - 1, 0)]))
        return InvariantSides.of(state, self._kernel(self.values[snapshot])).invariant - earlier.invariant

    def _at(self, t: Float[Array, ""]) -> ClassFlow:
        return eqx.tree_at(lambda flow: flow.kernel, self.flow, self.kernel_at(t))

    def _kernel(self, values: Float[Array, "3"]) -> BlockKernel:
        base = self.flow.kernel
        return BlockKernel(values[0], values[1], values[2], classes=base.classes, per_class=base.per_class)

    def _slope(self, t: Float[Array, ""]) -> Float[Array, "3"]:
        if not self.snapshots.blends:
            return jnp.zeros(3)
        piece, _ = self.snapshots.locate(t)
        slope = (self.values[piece + 1] - self.values[piece]) / (self.times[piece + 1] - self.times[piece])
        return jnp.where((t >= self.times[0]) & (t < self.times[-1]), slope, 0.0)
