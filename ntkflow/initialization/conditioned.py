"""Exact samples of Θ of random fully connected networks in O(M) a layer: weights only where they were looked at."""

from __future__ import annotations

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ntkflow.networks import ACTIVATIONS, HOMOGENEOUS, Activation


@final
class Ensemble(eqx.Module):
    """Random fully connected networks of one output, W^l_ij ~ N(0, σ_w²/n_{l−1}), b^l_i ~ N(0, σ_b²).

    Arrays may be longer than a network is deep: what is beyond ``depth`` is not looked at, so that networks of one grid
    share a compiled program.

    Attributes:
        widths: n_0, …, n_{L−1}, at least ``depth`` of them.
        depth: L.
        sigma_w: σ_w, one; :func:`~ntkflow.initialization.draw_ntk` keeps several here between its own functions.
        sigma_b: σ_b.
        activation: φ of the hidden layers.
        widest: at least the largest hidden width.
    """

    widths: Int[Array, " longest"]
    depth: Int[Array, ""]
    sigma_w: Float[Array, "*sigmas"]
    sigma_b: Float[Array, ""]
    activation: Activation = eqx.field(static=True)
    widest: int = eqx.field(static=True)

    def neurons(self, layer: Int[Array, ""]) -> Bool[Array, " widest"]:
        """Which of ``widest`` neurons a layer has; of the output, l = L, one."""
        width = jnp.where(layer < self.depth, self.widths[jnp.minimum(layer, len(self.widths) - 1)], 1)
        return jnp.arange(self.widest) < width

    def spread(self, layer: Int[Array, ""]) -> Float[Array, ""]:
        """σ_w/√n_{l−1}, the standard deviation of W^l's entries."""
        return self.sigma_w / jnp.sqrt(self.widths[layer - 1].astype(float))


class PairSample(NamedTuple):
    """Θ(x, x), Θ(x, x̃) and Θ(x̃, x̃) of one network, in logarithms.

    Attributes:
        logs: ln|Θ|.
        signs: of Θ.
    """

    logs: Float[Array, "3"]
    signs: Float[Array, "3"]


def normals(key: PRNGKeyArray, layer: Int[Array, ""], rows: int, count: int) -> Float[Array, "rows count"]:
    """Of one layer: the same for all depths, σ_w and σ_b, so that networks of a grid share their random numbers."""
    return jax.random.normal(jax.random.fold_in(key, layer), (rows, count))


def sample_ntk(ensemble: Ensemble, key: PRNGKeyArray, input_norm_squared: Float[Array, ""]) -> Float[Array, ""]:
    """ln Θ(x, x) of one random network, exact in distribution.

    Given x^{l−1} with direction u, W^l = (W^l u) uᵀ + W^l (I − uuᵀ), and the two parts are independent. The forward
    pass needs h^l from the first part alone; δ^l depends on it and on later layers. So
    W^lᵀδ^l = u ⟨W^l u, δ^l⟩ + (σ_w/√n_{l−1}) ‖δ^l‖ (I − uuᵀ) ξ with ξ ~ N(0, I): O(M) numbers a layer, not O(M²).
    For ReLU, activations are kept at norm 1 beside their logarithm; errors always are.

    Args:
        ensemble: which networks.
        key: of the draw.
        input_norm_squared: ‖x‖²; of x nothing else matters.
    """
    wide, longest = ensemble.widest, len(ensemble.widths)
    phi, homogeneous = ACTIVATIONS[ensemble.activation], ensemble.activation in HOMOGENEOUS
    slope = jax.vmap(jax.grad(phi))
    forth, back = jax.random.split(key)

    def forward(layer: Int[Array, ""], carry: tuple[Array, ...]) -> tuple[Array, ...]:
        norm, scale, fields, draws, norms = carry
        own, bias = normals(forth, layer, 2, wide)
        kept = ensemble.neurons(layer)
        field = jnp.where(kept, ensemble.spread(layer) * norm * own + _scaled(ensemble.sigma_b, scale) * bias, 0.0)
        signal = jnp.where(kept, phi(field), 0.0)
        length = jnp.linalg.norm(signal)
        fields, draws = fields.at[layer - 1].set(field), draws.at[layer - 1].set(jnp.where(kept, own, 0.0))
        norms = norms.at[layer].set(2 * (jnp.log(length) + scale), mode="drop")
        if homogeneous:
            grown = length > 0
            return jnp.where(grown, 1.0, 0.0), jnp.where(grown, scale + jnp.log(length), scale), fields, draws, norms
        return length, scale, fields, draws, norms

    squared = jnp.asarray(input_norm_squared, float)
    norms = jnp.zeros(longest).at[0].set(jnp.log(squared))
    empty = jnp.zeros((longest, wide))
    begin = (jnp.sqrt(squared), jnp.zeros(()), empty, empty, norms)
    _, _, fields, draws, norms = jax.lax.fori_loop(jnp.asarray(1), ensemble.depth + 1, forward, begin)

    def backward(count: Int[Array, ""], carry: tuple[Array, ...]) -> tuple[Array, ...]:
        delta, scale, total = carry
        layer = ensemble.depth - count
        total = jnp.logaddexp(total, 2 * scale + jnp.logaddexp(norms[layer - 1], 0.0))
        below = jnp.maximum(layer - 2, 0)
        kept = ensemble.neurons(layer - 1)
        signal = jnp.where(kept, phi(fields[below]), 0.0)
        unit = _unit(signal)
        noise = jnp.where(kept, normals(back, layer, 1, wide)[0], 0.0)
        pulled = unit * jnp.vdot(draws[layer - 1], delta) + noise - unit * jnp.vdot(unit, noise)
        delta = jnp.where(kept, slope(fields[below]), 0.0) * ensemble.spread(layer) * pulled
        length = jnp.linalg.norm(delta)
        return _unit(delta), scale + jnp.log(length), total

    start = (jnp.zeros(wide).at[0].set(1.0), jnp.zeros(()), jnp.asarray(-jnp.inf))
    return jax.lax.fori_loop(jnp.zeros((), ensemble.depth.dtype), ensemble.depth, backward, start)[2]


def sample_ntk_pair(ensemble: Ensemble, key: PRNGKeyArray, gram: Float[Array, "3"]) -> PairSample:
    """Θ on a pair of inputs of one random network, exact in distribution: as :func:`sample_ntk`, given two signals.

    Args:
        ensemble: which networks.
        key: of the draw.
        gram: ‖x‖², ⟨x, x̃⟩, ‖x̃‖²; of the inputs nothing else matters.
    """
    wide, longest = ensemble.widest, len(ensemble.widths)
    phi, homogeneous = ACTIVATIONS[ensemble.activation], ensemble.activation in HOMOGENEOUS
    slope = jax.vmap(jax.vmap(jax.grad(phi)))
    forth, back = jax.random.split(key)

    def signals(fields: Float[Array, "2 n"], kept: Bool[Array, " n"]) -> Float[Array, "2 n"]:
        return jnp.where(kept, phi(fields), 0.0)

    def forward(layer: Int[Array, ""], carry: tuple[Array, ...]) -> tuple[Array, ...]:
        coordinates, scale, fields, draws, grams, scales = carry
        own, other, bias = normals(forth, layer, 3, wide)
        kept = ensemble.neurons(layer)
        basis = jnp.stack([own, other])
        field = ensemble.spread(layer) * coordinates @ basis + _scaled(ensemble.sigma_b, scale) * bias
        field = jnp.where(kept, field, 0.0)
        signal = signals(field, kept)
        largest = jnp.maximum(jnp.linalg.norm(signal[0]), jnp.linalg.norm(signal[1]))
        fields, draws = fields.at[layer - 1].set(field), draws.at[layer - 1].set(jnp.where(kept, basis, 0.0))
        if homogeneous:
            factor = jnp.where(largest > 0, largest, 1.0)
            signal, scale = signal / factor, scale + jnp.log(factor)
        coordinates = _frame(signal)[1]
        grams = grams.at[layer].set(_gram(coordinates), mode="drop")
        return coordinates, scale, fields, draws, grams, scales.at[layer].set(scale, mode="drop")

    norm = jnp.sqrt(gram[0])
    along = jnp.where(norm > 0, gram[1] / jnp.where(norm > 0, norm, 1.0), 0.0)
    first = jnp.array([[norm, 0.0], [along, jnp.sqrt(jnp.maximum(gram[2] - along**2, 0.0))]])
    begin = (
        first,
        jnp.zeros(()),
        jnp.zeros((longest, 2, wide)),
        jnp.zeros((longest, 2, wide)),
        jnp.zeros((longest, 3)).at[0].set(gram),
        jnp.zeros(longest),
    )
    _, _, fields, draws, grams, scales = jax.lax.fori_loop(jnp.asarray(1), ensemble.depth + 1, forward, begin)

    def backward(count: Int[Array, ""], carry: tuple[Array, ...]) -> tuple[Array, ...]:
        delta, scale, totals, exponent = carry
        layer = ensemble.depth - count
        weighted, plain = 2 * (scale + scales[layer - 1]), 2 * scale
        top = jnp.maximum(exponent, jnp.maximum(weighted, plain))
        terms = grams[layer - 1] * jnp.exp(weighted - top) + jnp.exp(plain - top)
        totals = totals * jnp.exp(exponent - top) + _gram(delta) * terms
        below = jnp.maximum(layer - 2, 0)
        kept = ensemble.neurons(layer - 1)
        frame = _frame(signals(fields[below], kept))[0]
        # Two Gaussian vectors with the Gram matrix of δ and δ̃, off the plane of x^{l−1} and x̃^{l−1}.
        noise = _frame(delta)[1] @ jnp.where(kept, normals(back, layer, 2, wide), 0.0)
        pulled = (delta @ draws[layer - 1].T) @ frame + noise - (noise @ frame.T) @ frame
        delta = jnp.where(kept, slope(fields[below]), 0.0) * ensemble.spread(layer) * pulled
        largest = jnp.maximum(jnp.linalg.norm(delta[0]), jnp.linalg.norm(delta[1]))
        alive = largest > 0
        return (
            delta / jnp.where(alive, largest, 1.0),
            jnp.where(alive, scale + jnp.log(jnp.where(alive, largest, 1.0)), -jnp.inf),
            totals,
            top,
        )

    start = (
        jnp.zeros((2, wide)).at[:, 0].set(1.0),
        jnp.zeros(()),
        jnp.zeros(3),
        jnp.zeros(()),
    )
    *_, totals, exponent = jax.lax.fori_loop(jnp.zeros((), ensemble.depth.dtype), ensemble.depth, backward, start)
    return PairSample(jnp.log(jnp.abs(totals)) + exponent, jnp.sign(totals))


def _scaled(sigma_b: Float[Array, ""], scale: Float[Array, ""]) -> Float[Array, ""]:
    # At σ_b = 0 a signal may vanish beyond float64's smallest numbers; 0 · ∞ would be no number.
    return jnp.where(sigma_b > 0, sigma_b * jnp.exp(-jnp.where(sigma_b > 0, scale, 0.0)), 0.0)


def _unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    """The direction; 0 of 0, about which nothing was looked at."""
    length = jnp.linalg.norm(vector)
    return vector / jnp.where(length > 0, length, 1.0)


def _frame(pair: Float[Array, "2 n"]) -> tuple[Float[Array, "2 n"], Float[Array, "2 2"]]:
    """Orthonormal rows that span a pair of vectors, and the pair's coordinates; a row is 0 where they span less."""
    first = _unit(pair[0])
    along = jnp.vdot(first, pair[1])
    rest = pair[1] - along * first
    rest = rest - jnp.vdot(first, rest) * first
    length = jnp.linalg.norm(rest)
    # What is left of parallel vectors is rounding.
    apart = length > 1e-14 * jnp.linalg.norm(pair[1])
    second = jnp.where(apart, rest / jnp.where(apart, length, 1.0), 0.0)
    coordinates = jnp.array([[jnp.linalg.norm(pair[0]), 0.0], [along, jnp.where(apart, length, 0.0)]])
    return jnp.stack([first, second]), coordinates


def _gram(rows: Float[Array, "2 n"]) -> Float[Array, "3"]:
    return jnp.array([rows[0] @ rows[0], rows[0] @ rows[1], rows[1] @ rows[1]])
