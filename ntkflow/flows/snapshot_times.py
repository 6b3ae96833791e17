"""Moments at which something was measured, and what holds between them."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Interpolation = Literal["linear", "constant"]


class SnapshotTimes(eqx.Module):
    """The times of snapshots, and how what was measured at them is continued: held constant before the first and after
    the last; between two of them linear, or that of the last one so far.

    Args:
        values: of the snapshots, strictly increasing.
        interpolation: between them.
        kernels: how many kernels were measured.

    Raises:
        ValueError: no snapshot, another number of kernels than of times, or times that do not increase.
    """

    values: Float[Array, " snapshots"]
    interpolation: Interpolation = eqx.field(static=True)

    def __init__(self, values: Float[Array, " snapshots"], interpolation: Interpolation, *, kernels: int) -> None:
        if kernels == 0 or kernels != values.size:
            raise ValueError(f"one kernel is needed for each of the {values.size} times, not {kernels} in all")
        if not (bool(jnp.all(jnp.isfinite(values))) and bool(jnp.all(jnp.diff(values) > 0))):
            raise ValueError(f"the times of the snapshots must increase and be finite, not {values}")
        self.values = jnp.asarray(values, dtype=float)
        self.interpolation = interpolation

    @property
    def blends(self) -> bool:
        """Whether two snapshots count between them."""
        return self.interpolation == "linear" and self.values.size > 1

    def locate(self, t: Float[Array, ""]) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """The snapshot that begins the piece of time t, and the share of the piece that is over."""
        last = self.values.size - (2 if self.interpolation == "linear" else 1)
        piece = jnp.clip(jnp.searchsorted(self.values, t, side="right") - 1, 0, max(last, 0))
        if self.values.size == 1:
            return piece, jnp.zeros(())
        begin, end = self.values[piece], self.values[jnp.minimum(piece + 1, self.values.size - 1)]
        length = jnp.where(end > begin, end - begin, 1.0)
        return piece, jnp.clip((t - begin) / length, 0.0, 1.0)
