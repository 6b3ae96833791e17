"""Gradients of all parameters of y_o = s_o ⟨W_o, a⟩ + l_o from the derivatives with respect to y alone.

With c_t = ∂f/∂y_t, Ĝ = Σ_t c_t ⊗ a_t and ĉ = Σ_t c_t, the gradient of the weights of neuron o is s_o Ĝ_o, and that of a
gain or a shift θ_o, of which s_o and l_o are functions,

    ∂f/∂θ_o = ∂s_o/∂θ_o ⟨W_o, Ĝ_o⟩ + ∂l_o/∂θ_o ĉ_o,    for Σ_t c_{to} ⟨W_o, a_t⟩ = ⟨W_o, Ĝ_o⟩.

Nothing is divided by s: a gain of 0 is no exception.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Neurons(eqx.Module):
    """What y_o is made of; the same for all samples.

    Attributes:
        weight: W as it meets a.
        scale: ∂y_o/∂⟨W_o, a⟩ times the constant between W and the parameter array.
        slopes: ∂s_o/∂θ_o for each gain or shift θ.
        levels: ∂l_o/∂θ_o.
    """

    weight: Float[Array, "neurons inputs"]
    scale: Float[Array, " neurons"]
    slopes: Float[Array, "others neurons"]
    levels: Float[Array, "others neurons"]

    @property
    def inputs(self) -> int:
        """Weights of a neuron."""
        return self.weight.shape[1]

    def of_layer(self, right: Float[Array, "samples rows _"]) -> Float[Array, "samples rows _"]:
        """s_o times what belongs to neuron o; rows are all neurons, again and again."""
        samples, _, width = right.shape
        return (right.reshape(samples, -1, self.scale.size, width) * self.scale[:, None]).reshape(right.shape)

    def of_sums(
        self, sums: Float[Array, "samples rows inputs"], total: Float[Array, "samples rows"]
    ) -> Float[Array, "samples repeats others_and_neurons"]:
        """Gradients of gains and shifts from Ĝ and ĉ."""
        by_neuron = sums.reshape(sums.shape[0], -1, *self.weight.shape)
        return self._others(jnp.sum(by_neuron * self.weight, axis=-1), total.reshape(by_neuron.shape[:-1]))

    def of_positions(
        self, left: Float[Array, "samples positions inputs"], right: Float[Array, "samples rows positions"]
    ) -> Float[Array, "samples repeats others_and_neurons"]:
        """The same from ⟨W_o, a_t⟩ and c_t, without Ĝ."""
        samples, _, positions = right.shape
        layer = jnp.einsum("mk,itk->imt", self.weight, left)
        by_neuron = right.reshape(samples, -1, self.scale.size, positions)
        return self._others(jnp.sum(by_neuron * layer[:, None], axis=-1), jnp.sum(by_neuron, axis=-1))

    def _others(
        self, along: Float[Array, "samples repeats neurons"], total: Float[Array, "samples repeats neurons"]
    ) -> Float[Array, "samples repeats others_and_neurons"]:
        found = self.slopes * along[:, :, None] + self.levels * total[:, :, None]
        return found.reshape(*found.shape[:2], -1)
