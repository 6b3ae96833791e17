"""A fully connected network of one output by its arrays, and its Θ by norms of layers."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.networks import ACTIVATIONS, Activation


@final
class LayeredNetwork(eqx.Module):
    """h^l = W^l x^{l−1} + b^l, x^l = φ(h^l) for l < L, f = h^L ∈ ℝ: paper 2, (3), standard parametrisation.

    Attributes:
        weights: W^1, …, W^L, each n_l × n_{l−1}, n_L = 1.
        biases: b^1, …, b^L.
        activation: φ.
    """

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"], ...]
    activation: Activation = eqx.field(static=True)

    def __call__(self, inputs: Float[Array, " features"]) -> Float[Array, ""]:
        """f(x)."""
        return self._forward(inputs)[1][-1][0]

    def ntk(self, first: Float[Array, " features"], second: Float[Array, " features"]) -> Float[Array, ""]:
        """Θ(x, x̃) = Σ_l ⟨δ^l, δ̃^l⟩ (⟨x^{l−1}, x̃^{l−1}⟩ + 1), as paper 2, (19): O(parameters), no Jacobian."""
        (one, own), (other, theirs) = self._forward(first), self._forward(second)
        total, slope = jnp.zeros(()), jax.vmap(jax.grad(ACTIVATIONS[self.activation]))
        delta, tilde = jnp.ones(1), jnp.ones(1)
        for index in range(len(self.weights) - 1, -1, -1):
            total = total + jnp.vdot(delta, tilde) * (jnp.vdot(one[index], other[index]) + 1)
            if index:
                delta = slope(own[index - 1]) * (self.weights[index].T @ delta)
                tilde = slope(theirs[index - 1]) * (self.weights[index].T @ tilde)
        return total

    def _forward(self, inputs: Float[Array, " features"]) -> tuple[list[Array], list[Array]]:
        """x^0, …, x^{L−1} and h^1, …, h^L."""
        signals, before = [inputs], []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            before.append(weight @ signals[-1] + bias)
            signals.append(ACTIVATIONS[self.activation](before[-1]))
        return signals[:-1], before
