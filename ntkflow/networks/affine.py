"""Affine layers z = W a + b, of one sample."""

from __future__ import annotations

import equinox as eqx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks.initializers import unit_normal


class AbstractAffine(eqx.Module):
    """An affine layer, whatever its trainable parameters are: ``weight`` and ``bias`` are W and b themselves."""

    weight: eqx.AbstractVar[Float[Array, "outputs inputs"]]
    bias: eqx.AbstractVar[Float[Array, " outputs"]]

    def __call__(self, a: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        """Pre-activations of one sample."""
        return self.weight @ a + self.bias


class Dense(AbstractAffine):
    """An affine layer whose parameters are W and b: the standard parametrisation."""

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]


class NTKDense(AbstractAffine):
    """An affine layer in the NTK parametrisation: W = σ_w/√fan-in · w and b = σ_b β, thesis (2.51).

    Trained are w and β, which start at N(0, 1), (2.52). The function at initialisation is distributed as with the
    standard parametrisation under (2.26), but ∇_w = σ_w/√fan-in · ∇_W and ∇_β = σ_b ∇_b, (2.53): under gradient flow
    W moves σ_w²/fan-in times as fast as by its own gradient, and b σ_b² times. As a readout it is therefore not the
    one of paper 3's flows, whose W and b follow their own gradients.

    Args:
        key: source of w and β.
        inputs: fan-in.
        outputs: neurons.
        sigma_w: σ_w.
        sigma_b: σ_b; with 0 the layer has no bias, and β moves nothing.
        dtype: of w and β; None is JAX's default.
    """

    unit_weight: Float[Array, "outputs inputs"]
    unit_bias: Float[Array, " outputs"]
    weight_scale: float = eqx.field(static=True)
    bias_scale: float = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        inputs: int,
        outputs: int,
        *,
        sigma_w: float,
        sigma_b: float,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.unit_weight, self.unit_bias = unit_normal(key, (outputs, inputs), dtype)
        self.weight_scale = sigma_w / inputs**0.5
        self.bias_scale = float(sigma_b)

    @property
    def weight(self) -> Float[Array, "*members outputs inputs"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """W = σ_w/√fan-in · w."""
        return self.weight_scale * self.unit_weight

    @property
    def bias(self) -> Float[Array, "*members outputs"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """b = σ_b β."""
        return self.bias_scale * self.unit_bias
