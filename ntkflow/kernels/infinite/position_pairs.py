"""Moments of all pairs of positions of two images in infinitely wide convolutional networks, one offset at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ntkflow.kernels.infinite.circle import Circle
from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation


class Layers(NamedTuple):
    """What the convolutional layers are.

    Attributes:
        activation: The dual of φ.
        depth: L, how many there are.
        weight: σ_w²/q², variance of weights over the positions of a patch.
        bias: σ_b².
    """

    activation: AbstractDualActivation
    depth: int
    weight: Float[Array, ""]
    bias: Float[Array, ""]


class OwnMoments(NamedTuple):
    """Moments of single images at all depths; 0 beside the image.

    Attributes:
        scale: √q, where q is the variance of pre-activations.
        root: √E[φ²].
    """

    scale: Float[Array, "depth size lanes"]
    root: Float[Array, "depth size lanes"]


class HeadSums(NamedTuple):
    """What heads need, at all depths.

    Attributes:
        distance: Sum over all pairs of positions on the circle of half E[(φ(u) − φ(v))²], φ(u) being 0 beside an image.
        tangent: Sum over the pairs of pixels of Θ E[φ'(u)φ'(v)], where Θ is the tangent kernel of the pre-activations.
    """

    distance: Float[Array, "depth lanes"]
    tangent: Float[Array, "depth lanes"]


def own_moments(layers: Layers, circle: Circle, images: Float[Array, "channels size lanes"]) -> OwnMoments:
    """Moments of the images with themselves."""
    inside = circle.inside().astype(images.dtype)

    def layer(square: Float[Array, "size lanes"], _: None) -> tuple[Float[Array, "size lanes"], OwnMoments]:
        sums = circle.patch_sums(circle.with_halo(square))
        variance = (layers.weight * jnp.pad(sums, ((0, circle.halo), (0, 0))) + layers.bias) * inside
        square = layers.activation.second_moment(variance) * inside
        return square, OwnMoments(jnp.sqrt(variance), jnp.sqrt(square))

    square = jnp.mean(images**2, axis=0)
    return lax.scan(layer, square, None, length=layers.depth)[1]


class OneSide(NamedTuple):
    """Images on the circle with their own moments, one a lane."""

    images: Float[Array, "channels size lanes"]
    moments: OwnMoments


def head_sums(
    layers: Layers, circle: Circle, offsets: Int[Array, " offsets"], rows: OneSide, columns: OneSide
) -> HeadSums:
    """Sums over the position pairs (n, n + d) of as many pairs of images as there are lanes, for all given offsets d.

    What goes through the layers is not the covariance k of u and v but half their squared distance,
    δ = (q_u + q_v)/2 − k: patch sums of δ are as linear as those of k, a bias cancels, and pixels that are alike keep
    their small distance to its last digit. In terms of the roots r of E[φ²],
    δ' = (r_u − r_v)²/2 + r_u r_v g', where g' is the gap after the activation. Beside an image r is 0, and δ' is right
    there without further ado.
    """
    lanes, precision = rows.images.shape[-1], rows.images.dtype
    own = jax.tree.map(lambda a: a[:, : circle.positions], rows.moments)
    around = circle.with_halo if len(offsets) == 1 else circle.twice_round
    left, (right, other) = circle.with_halo(rows.images), jax.tree.map(around, tuple(columns))
    inside = circle.inside().astype(precision)
    inside_left, inside_right = inside[: circle.positions], around(inside)
    extent, halo, positions = circle.size + circle.halo, circle.halo, circle.positions

    def one_offset(total: HeadSums, offset: Int[Array, ""]) -> tuple[HeadSums, None]:
        pixels = inside_left * lax.dynamic_slice_in_dim(inside_right, offset + halo, positions)

        def sums(distance: Float[Array, "extent lanes"], tangent: Float[Array, "extent lanes"]) -> HeadSums:
            return HeadSums(circle.row_sums(distance), circle.row_sums(tangent))

        def layer(
            before: tuple[Float[Array, "extent lanes"], Float[Array, "extent lanes"]], level: Int[Array, ""]
        ) -> tuple[tuple[Float[Array, "extent lanes"], Float[Array, "extent lanes"]], HeadSums]:
            def window(values: Float[Array, "depth twice lanes"], start: int, length: int) -> Float[Array, "_ lanes"]:
                return lax.dynamic_slice(values, (level, offset + start, 0), (1, length, lanes))[0]

            scale_u, root_u = own.scale[level], own.root[level]
            scale_v, root_v = (window(values, halo, positions) for values in other)
            product = scale_u * scale_v
            distance, tangent = (layers.weight * circle.patch_sums(values) for values in before)
            # A division and no product with 1/√q: XLA keeps the result of a division, where it would otherwise do the
            # patch sums again for everything that needs the gap.
            gap = (distance - (scale_u - scale_v) ** 2 / 2) / jnp.where(product > 0, product, 1.0)
            # Where a variance is 0, so are k and Θ, at every φ.
            tangent = tangent + product * (1 - gap)
            moments = layers.activation.pair(_positive(scale_u**2), _positive(scale_v**2), gap)
            distance = (root_u - root_v) ** 2 / 2 + root_u * root_v * moments.gap
            tangent = tangent * moments.derivative * pixels
            front, back = window(other.root, 0, halo), window(other.root, halo + positions, halo)
            after = (
                jnp.concatenate([front**2 / 2, distance, back**2 / 2]),
                jnp.pad(tangent, ((halo, halo), (0, 0))),
            )
            # Of what is stored already: sums of what is being made would make it twice.
            return after, sums(*before)

        differences = left - lax.dynamic_slice_in_dim(right, offset, extent, axis=1)
        distance = jnp.mean(differences**2, axis=0) / 2
        last, found = lax.scan(layer, (distance, jnp.zeros_like(distance)), jnp.arange(layers.depth))
        found = jax.tree.map(lambda of, end: jnp.concatenate([of[1:], end[None]]), found, sums(*last))
        return jax.tree.map(jnp.add, total, found), None

    nothing = jnp.zeros((layers.depth, circle.row, lanes), precision)
    total, _ = lax.scan(one_offset, HeadSums(nothing, nothing), offsets)
    return jax.tree.map(lambda rows: jnp.sum(rows, axis=1), total)


def _positive(variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """0 becomes a variance at which every φ is φ(0); the product of two such numbers is still not 0."""
    return jnp.maximum(variance, math.sqrt(float(jnp.finfo(variance.dtype).tiny)))
