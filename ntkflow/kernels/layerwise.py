"""Exact empirical kernels of dense networks, layer by layer, without a parameter Jacobian.

For a dense layer z = W a + b the gradient of a feature h_p with respect to (W, b) is δ_p ⊗ (a, 1) with δ_p = ∂h_p/∂z,
so that layer's share of the kernel factorises:

    Θʰ_{p,q}(x, x') = Σ_l (⟨a_l(x), a_l(x')⟩ + 1) ⟨δ_{l,p}(x), δ_{l,q}(x')⟩.

What is held in memory is the factors, (inputs + features × outputs) numbers a sample and layer, where the Jacobian
would have inputs × outputs × features. The logit kernel follows by the chain rule, plus the readout's own parameters:

    Θ_{k,s}(x, x') = w_kᵀ Θʰ(x, x') w_s + δ_{ks} (⟨h(x), h(x')⟩ + 1).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@runtime_checkable
class _Readout(Protocol):
    @property
    def weight(self) -> Float[Array, "outputs features"]: ...


@runtime_checkable
class DenseNetwork(Protocol):
    """What a network has to offer for its kernel to be taken layer by layer: see :class:`ntkflow.networks.MLP`."""

    @property
    def readout(self) -> _Readout:
        """The linear layer on top of the features."""
        ...

    def tapped_features(
        self, x: Float[Array, "..."], taps: tuple[Float[Array, " _"], ...]
    ) -> tuple[Float[Array, " features"], tuple[Float[Array, " _"], ...]]:
        """Features with taps added to the pre-activations, and every layer's input."""
        ...

    def tap_sizes(self) -> tuple[int, ...]:
        """Number of pre-activations of each layer before the readout."""
        ...


class LayerFactors(eqx.Module):
    """The factors of a dense network's kernels on a set of samples, and the kernels made from them.

    Attributes:
        grams: for each layer before the readout, ⟨a(xᵢ), a(xⱼ)⟩ + 1.
        derivatives: for each of these layers, ∂h_p(xᵢ)/∂z.
        features: h_p(xᵢ).
        readout_weight: W.
    """

    grams: tuple[Float[Array, "samples samples"], ...]
    derivatives: tuple[Float[Array, "samples features _"], ...]
    features: Float[Array, "samples features"]
    readout_weight: Float[Array, "outputs features"]

    def traced_feature_kernel(self) -> Float[Array, "samples samples"]:
        """Mean over the n features of Θʰ_{p,p}(xᵢ, xⱼ): the trace divided by n."""
        return _traced(self.grams, self.derivatives)

    def neuron_feature_kernels(self) -> Float[Array, "features samples samples"]:
        """Θʰ_{p,p}(xᵢ, xⱼ) for every feature p."""
        return _diagonal(self.grams, self.derivatives)

    def full_feature_kernel(self) -> Float[Array, "features samples features samples"]:
        """Θʰ_{p,q}(xᵢ, xⱼ) for all pairs; (nN)² numbers."""
        return _full(self.grams, self.derivatives)

    def traced_logit_kernel(self) -> Float[Array, "samples samples"]:
        """Mean over the C outputs of Θ_{k,k}(xᵢ, xⱼ): the trace divided by C."""
        return _traced(self.grams, self._logit_derivatives()) + self._readout_kernel()

    def output_logit_kernels(self) -> Float[Array, "outputs samples samples"]:
        """Θ_{k,k}(xᵢ, xⱼ) for every output k."""
        return _diagonal(self.grams, self._logit_derivatives()) + self._readout_kernel()[None]

    def full_logit_kernel(self) -> Float[Array, "outputs samples outputs samples"]:
        """Θ_{k,s}(xᵢ, xⱼ) for all pairs; (CN)² numbers."""
        outputs = self.readout_weight.shape[0]
        own = jnp.eye(outputs)[:, None, :, None] * self._readout_kernel()[None, :, None, :]
        return _full(self.grams, self._logit_derivatives()) + own

    def _logit_derivatives(self) -> tuple[Float[Array, "samples outputs _"], ...]:
        return tuple(jnp.einsum("kp,ipz->ikz", self.readout_weight, delta) for delta in self.derivatives)

    def _readout_kernel(self) -> Float[Array, "samples samples"]:
        return self.features @ self.features.T + 1


@eqx.filter_jit
def layer_factors(network: DenseNetwork, inputs: Float[Array, "samples ..."]) -> LayerFactors:
    """Factors of the kernels of a dense network on ``inputs``: one forward pass and n backward passes a sample."""
    taps = tuple(jnp.zeros(size) for size in network.tap_sizes())

    def one_sample(
        x: Float[Array, "..."],
    ) -> tuple[Float[Array, " features"], tuple[Float[Array, " _"], ...], tuple[Float[Array, "features _"], ...]]:
        def features(taps: tuple[Float[Array, " _"], ...]):  # noqa: ANN202
            h, layer_inputs = network.tapped_features(x, taps)
            return h, (h, layer_inputs)

        deltas, (h, layer_inputs) = jax.jacrev(features, has_aux=True)(taps)
        return h, layer_inputs, deltas

    h, layer_inputs, deltas = jax.vmap(one_sample)(inputs)
    return LayerFactors(
        grams=tuple(a @ a.T + 1 for a in layer_inputs),
        derivatives=deltas,
        features=h,
        readout_weight=network.readout.weight,
    )


def _traced(
    grams: tuple[Float[Array, "samples samples"], ...], derivatives: tuple[Float[Array, "samples neurons _"], ...]
) -> Float[Array, "samples samples"]:
    neurons = derivatives[0].shape[1]
    flat = [delta.reshape(delta.shape[0], -1) for delta in derivatives]
    terms = [gram * (delta @ delta.T) for gram, delta in zip(grams, flat, strict=True)]
    return sum(terms[1:], terms[0]) / neurons


def _diagonal(
    grams: tuple[Float[Array, "samples samples"], ...], derivatives: tuple[Float[Array, "samples neurons _"], ...]
) -> Float[Array, "neurons samples samples"]:
    terms = [
        gram[None] * jnp.einsum("ipz,jpz->pij", delta, delta) for gram, delta in zip(grams, derivatives, strict=True)
    ]
    return sum(terms[1:], terms[0])


def _full(
    grams: tuple[Float[Array, "samples samples"], ...], derivatives: tuple[Float[Array, "samples neurons _"], ...]
) -> Float[Array, "neurons samples neurons samples"]:
    terms = [
        gram[None, :, None, :] * jnp.einsum("ipz,jqz->piqj", delta, delta)
        for gram, delta in zip(grams, derivatives, strict=True)
    ]
    return sum(terms[1:], terms[0])
