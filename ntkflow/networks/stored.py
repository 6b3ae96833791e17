"""Arrays that a network carries and that are no parameters."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt

_BITS = {"float32": jnp.uint32, "float64": jnp.uint64}
_VALUES = {"uint32": jnp.float32, "uint64": jnp.float64}


class Stored(eqx.Module):
    """A floating-point array of a network that is no parameter, kept as its bit pattern.

    Everywhere in ntkflow, and in most Equinox code, the parameters of a network are its leaves that pass
    ``eqx.is_inexact_array``. This leaf does not: gradients, kernels, weight decay, optimiser states and parameter
    counts leave it alone, whoever writes them, and no filter can be forgotten. It is still an array: traced, batched by
    vmap, put on devices and written to checkpoints like any other. No derivative passes through it.

    Types of 16 bits are kept as float32.
    """

    bits: UInt[Array, "..."]

    def __init__(self, value: Float[Array, "..."]) -> None:
        value = value.astype(jnp.float32) if value.dtype.itemsize < 4 else value
        self.bits = jax.lax.bitcast_convert_type(value, _BITS[value.dtype.name])

    @property
    def value(self) -> Float[Array, "..."]:
        """The array."""
        return jax.lax.bitcast_convert_type(self.bits, _VALUES[self.bits.dtype.name])
