"""The gap between inputs, and what a random bias makes of a gap: without the cancellation that 1 − cos would have."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

# Above it the difference 1 − cos loses a factor of eight at most of what √gap can be known to.
_NEAR = 1 / 64


def unit_rows(inputs: Float[Array, "samples features"]) -> Float[Array, "samples features"]:
    """Every row divided by its norm; a row of zeros stays as it is."""
    size = jnp.linalg.norm(inputs, axis=1, keepdims=True)
    return inputs / jnp.where(size > 0, size, 1.0)


def gap_between(
    rows: Float[Array, "rows features"],
    columns: Float[Array, "columns features"],
    same: Bool[Array, "rows columns"] | None = None,
) -> Float[Array, "rows columns"]:
    """1 − ⟨x, x'⟩ of unit vectors, with an error of ε√gap: from ½‖x − x'‖² where it is small, 0 for equal ones.

    A product of matrices gives all of them; only where some are small are differences taken too, a row at a time.
    Pairs that are the ``same`` sample have gap 0 without being looked at.
    """
    gap = 1 - jnp.matmul(rows, columns.T, precision=lax.Precision.HIGHEST)
    if same is not None:
        gap = jnp.where(same, 0.0, gap)
    near = gap < _NEAR if same is None else (gap < _NEAR) & ~same

    def by_differences(gap: Array) -> Array:
        exact = lax.map(lambda row: jnp.sum((row - columns) ** 2, axis=1) / 2, rows)
        return jnp.where(near, exact, gap)

    return lax.cond(jnp.any(near), by_differences, lambda gap: gap, gap)


def gap_with_bias(
    gap: Float[Array, "*shape"],
    variance_u: Float[Array, "*#shape"],
    variance_v: Float[Array, "*#shape"],
    bias_variance: Float[Array, "*#shape"],
) -> Float[Array, "*shape"]:
    """The gap after a common variable of variance s is added to u and to v, of variances a and a'.

    1 − (A(1 − g) + s)/R with A = √(a a'), R = √((a+s)(a'+s)), and R − A − s = s(√a − √a')²/(R + A + s).
    """
    root_u, root_v = jnp.sqrt(variance_u), jnp.sqrt(variance_v)
    before = root_u * root_v
    after = jnp.sqrt(variance_u + bias_variance) * jnp.sqrt(variance_v + bias_variance)
    apart = bias_variance * (root_u - root_v) ** 2 / (after + before + bias_variance)
    return (before * gap + apart) / after
