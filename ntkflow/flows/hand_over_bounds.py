"""The inequalities behind :func:`ntkflow.flows.hand_over`, with constants that hold on a whole interval of time."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntkflow.flows.riccati import GramPair
from ntkflow.flows.states import ClassState

_ROUNDS = 6
_INFLATION = 1.01


class Coefficients(eqx.Module):
    """The hyperbolic flow on each interval: upper bounds on ‖a‖, ‖V‖, ‖r‖ (spectral), ‖r aᵀH₁(0)‖_F and ‖aᵀH₁(0)‖, and
    a lower one on σ_min(V)."""

    length: Float[Array, " intervals"]
    feature: Float[Array, " intervals"]
    weight: Float[Array, " intervals"]
    residual: Float[Array, " intervals"]
    coupling: Float[Array, " intervals"]
    overlap_with_means: Float[Array, " intervals"]
    smallest_weight: Float[Array, " intervals"]


class Sizes(eqx.Module):
    """What does not change along the hyperbolic flow."""

    single: Float[Array, ""]
    per_class: int = eqx.field(static=True)
    means: Float[Array, ""]
    smallest_means: Float[Array, ""]
    largest_kernel: Float[Array, ""]
    smallest_kernel: Float[Array, ""]


class Distances(eqx.Module):
    """v, f, g, η and ρ of :func:`hand_over`."""

    weight: Float[Array, "..."]
    feature: Float[Array, "..."]
    residual: Float[Array, "..."]
    means: Float[Array, "..."]
    class_residual: Float[Array, "..."]


def coefficients_on(
    grams: GramPair, state: ClassState, length: Float[Array, " intervals"], sizes: Sizes
) -> Coefficients:
    """What the hyperbolic flow contributes, from its closed form at the ends of the intervals.

    ‖V‖, ‖a‖, ‖r‖ and the singular values of V never grow along it. What else is needed changes at a speed that they
    bound.
    """
    means = state.class_means
    outputs, features = state.weight.shape

    def at(
        pair: tuple[Float[Array, "features features"], Float[Array, "features features"]],
    ) -> tuple[Float[Array, ""], ...]:
        feature_gram, weight_gram = pair
        values, vectors = jnp.linalg.eigh(feature_gram)
        half = vectors * jnp.sqrt(jnp.maximum(values, 0.0))
        spectrum = jnp.linalg.eigvalsh(weight_gram)
        scattered = feature_gram @ means
        return (
            values[-1],
            spectrum[-1],
            jnp.linalg.eigvalsh(half.T @ weight_gram @ half)[-1],
            jnp.sum(scattered * (weight_gram @ scattered)),
            jnp.sum(means * scattered),
            spectrum[-outputs] if outputs <= features else jnp.zeros(()),
        )

    squares = jax.lax.map(at, (grams.feature_gram, grams.weight_gram))
    feature, weight, residual, coupling, overlap, smallest = (jnp.sqrt(jnp.maximum(one, 0.0)) for one in squares)
    frobenius = jnp.sqrt(jnp.maximum(grams.overlap, 0.0))
    left_feature, left_weight, left_residual, left_frobenius = (
        one[:-1] for one in (feature, weight, residual, frobenius)
    )
    coupling_speed = left_frobenius * (left_feature**3 + left_weight**2 * left_feature + left_residual * left_weight)
    overlap_speed = left_frobenius * left_weight

    def largest(values: Float[Array, " times"], speed: Float[Array, " intervals"]) -> Float[Array, " intervals"]:
        return (values[1:] + values[:-1] + sizes.means * speed * length) / 2

    return Coefficients(
        length=length,
        feature=left_feature,
        weight=left_weight,
        residual=left_residual,
        coupling=jnp.minimum(largest(coupling, coupling_speed), left_frobenius * left_feature * sizes.means),
        overlap_with_means=jnp.minimum(largest(overlap, overlap_speed), left_feature * sizes.means),
        smallest_weight=smallest[1:],
    )


def across(start: Distances, interval: Coefficients, sizes: Sizes) -> Distances:
    """Bounds at the end of an interval from those at its beginning; infinite where no enclosure was found."""

    def widened(_: Int[Array, ""], candidate: Distances) -> Distances:
        return jax.tree.map(lambda one: _INFLATION * one, _end(start, candidate, interval, sizes)[1])

    candidate = jax.lax.fori_loop(0, _ROUNDS, widened, start)
    reached, largest = _end(start, candidate, interval, sizes)
    # While all are below the candidate, they are below what follows from it. If that is below it too, they never leave
    # it. NaN, from infinity minus infinity, fails the comparison.
    inside = jax.tree.map(lambda one, other: one <= other, largest, candidate)
    enclosed = jnp.all(jnp.stack(jax.tree.leaves(inside)))
    return jax.tree.map(lambda one: jnp.where(enclosed, one, jnp.inf), reached)


def _end(start: Distances, candidate: Distances, interval: Coefficients, sizes: Sizes) -> tuple[Distances, Distances]:
    """The distances at the end of an interval on which they stay below the candidate, and their largest values."""
    v, f, g, η = candidate.weight, candidate.feature, candidate.residual, candidate.means
    root, length = jnp.sqrt(sizes.single), interval.length
    # r aᵀH₁ and what it can differ by from its hyperbolic counterpart.
    source = interval.coupling + g * interval.overlap_with_means
    source += (interval.residual + g) * (sizes.means * f + (interval.feature + f) * η)
    full_rank = jnp.maximum(interval.smallest_weight - v, 0.0) ** 2
    rate = sizes.per_class * jnp.maximum(sizes.smallest_means - η, 0.0) ** 2
    ρ, ρ_largest, ρ_total = _relaxation(
        start.class_residual, rate + sizes.smallest_kernel * full_rank / sizes.single, source / root, length
    )
    # ∫ of what R₁ does to V over the interval.
    push = sizes.per_class * root * (sizes.means + η) * ρ_total
    source = interval.residual * (f * (2 * interval.feature + f) + v * (2 * interval.weight + v))
    g, g_largest, g_total = _relaxation(start.residual, full_rank, source, length)
    kick = (interval.feature + f) * push
    g, g_largest, g_total = g + kick, g_largest + kick, g_total + kick * length
    end = Distances(
        weight=start.weight + (interval.feature + f) * g_total + interval.residual * f * length + push,
        feature=start.feature + v * (interval.residual * length + g_total) + interval.weight * g_total,
        residual=g,
        means=start.means + (interval.weight + v) / root * sizes.largest_kernel * ρ_total,
        class_residual=ρ,
    )
    # v, f and η only grow.
    return end, Distances(end.weight, end.feature, g_largest, end.means, ρ_largest)


def _relaxation(
    start: Float[Array, ""], rate: Float[Array, ""], source: Float[Array, ""], length: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """x(length), a bound on x until then, and ∫x, of ẋ = −rate·x + source."""
    x = rate * length
    near = x < 1e-4
    safe = jnp.where(near, 1.0, x)
    once = jnp.where(near, 1 - x / 2 + x**2 / 6, -jnp.expm1(-safe) / safe)
    twice = jnp.where(near, 0.5 - x / 6 + x**2 / 24, (1 + jnp.expm1(-safe) / safe) / safe)
    end = start * jnp.exp(-x) + source * length * once
    # x runs monotonically towards source/rate.
    return end, jnp.maximum(start, end), length * (start * once + source * length * twice)
