"""The recursion over dense layers, compiled: variances of every input, then gaps and Θ of pairs, a tile at a time."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation
from ntkflow.kernels.infinite.input_gap import gap_between, gap_with_bias, unit_rows
from ntkflow.kernels.infinite.kernel_pair import KernelPair
from ntkflow.kernels.infinite.quadrature_dual import AbstractQuadratureDual
from ntkflow.kernels.infinite.tiles import Tiling, in_tiles


class LayerScales(NamedTuple):
    """What multiplies the moments in K and in Θ; arrays, so that programs are not compiled again for other values.

    Attributes:
        weight: σ_w².
        bias: σ_b².
        own_weight: what multiplies ⟨x, x'⟩/d and each E[φφ] in Θ's own terms; layers 1, …, L.
        own_bias: what is added to them.
    """

    weight: Float[Array, ""]
    bias: Float[Array, ""]
    own_weight: Float[Array, " depth"]
    own_bias: Float[Array, ""]


class _Variances(NamedTuple):
    """Of each layer and sample: K^ℓ(x, x) of the pre-activations, and the second moment of what enters the layer."""

    own: Float[Array, "depth ..."]
    entering: Float[Array, "depth ..."]

    def part(self, start: Int[Array, ""], size: int, axis: int) -> _Variances:
        """Those of some samples, with an axis for the samples of the other side."""
        return _Variances(*(jnp.expand_dims(lax.dynamic_slice_in_dim(of, start, size, 1), axis) for of in self))


def _prepared(
    activation: AbstractDualActivation, scales: LayerScales, inputs: Float[Array, "samples features"]
) -> tuple[Float[Array, "samples features"], _Variances]:
    return unit_rows(inputs), _variances(activation, scales, inputs)


def _variances(
    activation: AbstractDualActivation, scales: LayerScales, inputs: Float[Array, "samples features"]
) -> _Variances:
    def layer(entering: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        own = scales.weight * entering + scales.bias
        return activation.second_moment(own), (own, entering)

    _, layers = lax.scan(layer, jnp.mean(inputs**2, axis=1), None, length=scales.own_weight.shape[0])
    return _Variances(*layers)


@eqx.filter_jit
def matrices(
    activation: AbstractDualActivation,
    scales: LayerScales,
    rows: Float[Array, "rows features"],
    columns: Float[Array, "columns features"] | None,
    *,
    tile: int,
    every: bool,
) -> KernelPair:
    """Both kernels of all pairs, of the last layer or of every one; ``columns`` None means the rows again."""
    symmetric = columns is None
    other = rows if columns is None else columns
    tiling = Tiling.of(rows.shape[0], other.shape[0], tile, symmetric=symmetric)
    x, of_x = _prepared(activation, scales, tiling.padded_rows(rows))
    y, of_y = (x, of_x) if symmetric else _prepared(activation, scales, tiling.padded_columns(other))
    down, right = jnp.arange(tiling.height, dtype=jnp.int32), jnp.arange(tiling.width, dtype=jnp.int32)

    def of_pairs(i: Int[Array, ""], j: Int[Array, ""]) -> tuple[Array, Array]:
        same = (i + down)[:, None] == (j + right)[None, :] if symmetric else None
        near_x, near_y = lax.dynamic_slice_in_dim(x, i, tiling.height), lax.dynamic_slice_in_dim(y, j, tiling.width)
        gap = gap_between(near_x, near_y, same)
        u, v = of_x.part(i, tiling.height, -1), of_y.part(j, tiling.width, -2)
        return _pairs(activation, scales, gap, u, v, every=every)

    stack = scales.own_weight.shape if every else ()
    return KernelPair(*in_tiles(of_pairs, tiling, stack=stack, dtype=x.dtype))


@eqx.filter_jit
def diagonals(
    activation: AbstractDualActivation, scales: LayerScales, inputs: Float[Array, "samples features"]
) -> KernelPair:
    """Both kernels of every input with itself."""
    variances = _variances(activation, scales, inputs)
    return KernelPair(*_pairs(activation, scales, jnp.zeros_like(variances.own[0]), variances, variances, every=False))


@eqx.filter_jit
def quadrature_error(
    activation: AbstractQuadratureDual, scales: LayerScales, inputs: Float[Array, "samples features"]
) -> Float[Array, ""]:
    """The largest estimate at the smallest and the largest variance of each hidden layer."""
    own = _variances(activation, scales, inputs).own[:-1]
    ends = jnp.concatenate([jnp.min(own, axis=1), jnp.max(own, axis=1)])
    return jnp.max(activation.error_estimate(ends))


def _pairs(
    activation: AbstractDualActivation,
    scales: LayerScales,
    gap: Float[Array, "*pairs"],
    u: _Variances,
    v: _Variances,
    *,
    every: bool,
) -> tuple[Float[Array, "*result"], Float[Array, "*result"]]:
    """K and Θ of the last layer or of every one, from the gap of the inputs and the variances of both sides."""

    def covariance(of_u: Array, of_v: Array, gap: Array) -> Array:
        return jnp.sqrt(of_u) * jnp.sqrt(of_v) * (1 - gap)

    def affine(gap: Array, theta: Array, layer: tuple[_Variances, _Variances, Array]) -> tuple[Array, Array]:
        """The pre-activations' gap and Θ from the gap of what enters and Θ σ_w² E[φ'φ']."""
        u, v, own_weight = layer
        theta = theta + own_weight * covariance(u.entering, v.entering, gap) + scales.own_bias
        return gap_with_bias(gap, scales.weight * u.entering, scales.weight * v.entering, scales.bias), theta

    def hidden(state: tuple[Array, Array], layer: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array] | None]:
        gap, theta = state
        (before_u, before_v), after = layer
        moments = activation.pair(before_u, before_v, gap)
        gap, theta = affine(moments.gap, scales.weight * theta * moments.derivative, after)
        return (gap, theta), (covariance(after[0].own, after[1].own, gap), theta) if every else None

    def layers(start: int | None, end: int | None) -> tuple[_Variances, _Variances, Array]:
        part = slice(start, end)
        return (
            _Variances(u.own[part], u.entering[part]),
            _Variances(v.own[part], v.entering[part]),
            scales.own_weight[part],
        )

    first = (_Variances(u.own[0], u.entering[0]), _Variances(v.own[0], v.entering[0]), scales.own_weight[0])
    start = affine(gap, jnp.zeros_like(gap), first)
    (gap, theta), deeper = lax.scan(hidden, start, ((u.own[:-1], v.own[:-1]), layers(1, None)))
    if deeper is not None:
        at_first = covariance(first[0].own, first[1].own, start[0]), start[1]
        nngp, ntk = (jnp.concatenate([one[None], rest]) for one, rest in zip(at_first, deeper, strict=True))
        return nngp, ntk
    return covariance(u.own[-1], v.own[-1], gap), theta
