"""The Riccati flow of two Gram matrices in closed form: stable for every sign of the invariant's eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Elementwise = Callable[[Float[Array, "..."]], Float[Array, "..."]]


class GramPair(eqx.Module):
    """P(t), Q(t) and Tr(PQ) of :func:`gram_pair_at`."""

    feature_gram: Float[Array, "times features features"]
    weight_gram: Float[Array, "times features features"]
    overlap: Float[Array, " times"]


def gram_pair_at(
    feature_gram: Float[Array, "features features"],
    weight_gram: Float[Array, "features features"],
    times: Float[Array, " times"],
) -> GramPair:
    """The solution of Ṗ = Q̇ = −(PQ + QP) at all times, exact, from one eigendecomposition.

    With F = Q − P, which is constant, Ṗ = −FP − PF − 2P² (paper 3, (47), with P = mS, F = Ẽ and t/Z for the time).
    Let F₋ and F₊ be the negative and the positive part of F, both positive semi-definite, and |F| = F₊ + F₋. Then

    P(t) = F₋ + Δ(t),  Q(t) = F₊ + Δ(t),  Δ(t) = e^{−|F|t} Δ₀ (I + 2N(t)Δ₀)⁻¹ e^{−|F|t},  N(t) = ∫₀ᵗ e^{−2|F|s} ds.

    No exponential grows. The smallest eigenvalue of I + 2N^½Δ₀N^½ is at least ½, because Δ₀ ⪰ −|F|/2: the mean of
    Δ₀ ⪰ −F₋ and Δ₀ ⪰ −F₊, which say that P and Q are positive semi-definite. Neither has to be invertible.

    First derivatives with respect to all arguments are exact wherever eigenvalues of F coincide or vanish, with an
    error of rounding relative to the norms of P and Q; where a Gram matrix has decayed below that, its own relative
    derivative is lost. Second derivatives are not supported.

    Args:
        feature_gram: P(0), positive semi-definite.
        weight_gram: Q(0), positive semi-definite.
        times: not negative.
    """
    return GramPair(*_solution(_symmetric(feature_gram), _symmetric(weight_gram), times))


def gram_pair_limit(
    feature_gram: Float[Array, "features features"], weight_gram: Float[Array, "features features"]
) -> tuple[Float[Array, "features features"], Float[Array, "features features"]]:
    """P(∞) = F₋ and Q(∞) = F₊ of :func:`gram_pair_at`; the ranks of P(0) and Q(0) do not matter."""
    eigenvalues, vectors = jnp.linalg.eigh(_symmetric(weight_gram - feature_gram))
    negative, positive = jnp.maximum(-eigenvalues, 0.0), jnp.maximum(eigenvalues, 0.0)
    return (vectors * negative) @ vectors.T, (vectors * positive) @ vectors.T


Arrays = tuple[Float[Array, "..."], ...]


@jax.custom_jvp
@jax.jit
def _solution(
    feature_gram: Float[Array, "features features"],
    weight_gram: Float[Array, "features features"],
    times: Float[Array, " times"],
) -> Arrays:
    eigenvalues, vectors = jnp.linalg.eigh(weight_gram - feature_gram)
    size = jnp.abs(eigenvalues)
    rotated_feature, rotated_weight = (vectors.T @ gram @ vectors for gram in (feature_gram, weight_gram))
    # Δ₀ = P − F₋ = Q − F₊. Where F is negative it is Q's block, where it is positive P's: so nothing cancels.
    negative = eigenvalues < 0
    excess = jnp.where(negative[:, None] & negative[None, :], rotated_weight, rotated_feature)

    def at(time: Float[Array, ""]) -> Arrays:
        x = 2 * size * time
        near = x < 1e-5
        integral = time * jnp.where(near, 1 - x / 2 + x**2 / 6, -jnp.expm1(-x) / jnp.where(near, 1.0, x))
        inner = jnp.linalg.solve(jnp.eye(size.size) + 2 * excess * integral, excess)
        decay = jnp.exp(-size * time)
        left = _symmetric(decay[:, None] * inner * decay)
        # F₋F₊ = 0, so Tr(PQ) = Tr(|F|Δ) + ‖Δ‖²: as small as it is, without the rounding of P and Q.
        overlap = jnp.sum(size * jnp.diagonal(left)) + jnp.sum(left**2)
        return (
            _back(jnp.diag(jnp.maximum(-eigenvalues, 0.0)) + left, vectors),
            _back(jnp.diag(jnp.maximum(eigenvalues, 0.0)) + left, vectors),
            overlap,
        )

    return jax.vmap(at)(times)


@_solution.defjvp
@jax.jit
def _tangent(primals: Arrays, tangents: Arrays) -> tuple[Arrays, Arrays]:
    """The derivative of T = (P + Q)/2, which is an even, hence smooth, function of F:

    T(t) = F tanh(Ft)/2 + C T₀ (I + 2L T₀)⁻¹ C with C = sech(Ft) and L = tanh(Ft)/F.

    The parts F₋, F₊ and |F| of the solution itself are not smooth where eigenvalues pass through 0.
    """
    feature_gram, weight_gram, times = primals
    feature_tangent, weight_tangent, time_tangent = tangents
    solution = _solution(feature_gram, weight_gram, times)
    invariant_tangent = weight_tangent - feature_tangent
    eigenvalues, vectors = jnp.linalg.eigh(weight_gram - feature_gram)
    mean = vectors.T @ (feature_gram + weight_gram) @ vectors / 2
    mean_tangent = vectors.T @ (feature_tangent + weight_tangent) @ vectors / 2
    rotated_tangent = vectors.T @ invariant_tangent @ vectors

    def at(time: Float[Array, ""]) -> Float[Array, "features features"]:
        def moved(function: Elementwise) -> Float[Array, "features features"]:
            return _divided_differences(function, eigenvalues, time) * rotated_tangent

        share, quotient = _sech(eigenvalues * time), time * _tanhc(eigenvalues * time)
        share_moved = moved(lambda value: _sech(value * time))
        inverse = jnp.linalg.inv(jnp.eye(eigenvalues.size) + 2 * quotient[:, None] * mean)
        inner = _symmetric(mean @ inverse)
        inner_moved = inverse.T @ mean_tangent @ inverse
        inner_moved -= 2 * inner @ moved(lambda value: time * _tanhc(value * time)) @ inner
        one_sided = share_moved @ (inner * share)
        change = moved(lambda value: value * jnp.tanh(value * time)) / 2 + one_sided + one_sided.T
        return _back(change + share[:, None] * inner_moved * share, vectors)

    feature, weight, _ = solution
    product = feature @ weight
    in_time = -time_tangent[:, None, None] * (product + jnp.swapaxes(product, -1, -2))
    change = jax.vmap(at)(times) + in_time
    feature_change, weight_change = change - invariant_tangent / 2, change + invariant_tangent / 2
    overlap_change = jnp.sum(feature_change * weight + feature * weight_change, axis=(-2, -1))
    return solution, (feature_change, weight_change, overlap_change)


def _divided_differences(
    function: Elementwise, points: Float[Array, " points"], time: Float[Array, ""]
) -> Float[Array, "points points"]:
    """(f(x) − f(y))/(x − y) for all pairs, f'(x) on the diagonal: the derivative of f(F) in F's eigenbasis
    (Daleckii and Krein).

    The functions here vary over lengths of 1/time. Nearer points get the mean of f' between them, by Gauss–Legendre
    quadrature, because the quotient would cancel.
    """
    gap = points[:, None] - points[None, :]
    far = jnp.abs(gap) * time > 1
    values = function(points)
    quotient = (values[:, None] - values[None, :]) / jnp.where(far, gap, 1.0)
    nodes, weights = (jnp.asarray(array) for array in np.polynomial.legendre.leggauss(10))
    # The quadrature is not used for far pairs; a segment of length 0 keeps it finite there.
    between = points[None, :, None] + jnp.where(far, 0.0, gap)[:, :, None] * (nodes + 1) / 2
    slope: Any = jax.jvp(function, (between,), (jnp.ones_like(between),))[1]
    return jnp.where(far, quotient, slope @ weights / 2)


def _sech(x: Float[Array, "..."]) -> Float[Array, "..."]:
    # 1/cosh overflows, and its derivative is then 0·∞.
    small = jnp.exp(-jnp.abs(x))
    return 2 * small / (1 + small**2)


def _tanhc(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """tanh(x)/x, by its series near 0."""
    near = jnp.abs(x) < 0.1
    safe = jnp.where(near, 1.0, x)
    series = jnp.asarray([21844 / 6081075, -1382 / 155925, 62 / 2835, -17 / 315, 2 / 15, -1 / 3, 1.0])
    return jnp.where(near, jnp.polyval(series, jnp.where(near, x, 0.0) ** 2), jnp.tanh(safe) / safe)


def _symmetric(matrix: Float[Array, "*stack features features"]) -> Float[Array, "*stack features features"]:
    return (matrix + jnp.swapaxes(matrix, -1, -2)) / 2


def _back(
    matrix: Float[Array, "features features"], vectors: Float[Array, "features features"]
) -> Float[Array, "features features"]:
    return _symmetric(vectors @ matrix @ vectors.T)
