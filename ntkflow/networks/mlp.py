"""Fully-connected networks with the feature/readout split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.networks.activations import ACTIVATIONS, Activation
from ntkflow.networks.affine import AbstractAffine, Dense, NTKDense
from ntkflow.networks.classifier import AbstractClassifier, Readout
from ntkflow.networks.initializers import Initialization, gaussian, initial_bias, initial_weight

Parametrization = Literal["standard", "ntk"]
"""Which numbers are trained: ``standard``, W and b; ``ntk``, w and β with W = σ_w/√fan-in · w and b = σ_b β."""


class MLP(AbstractClassifier):
    """A fully-connected network: hidden layers, the layer of features, then the linear readout.

    Every layer but the readout is followed by the activation, the layer of features too. Inputs of any shape are
    flattened. Initial weights follow either a named rule, or σ_w and σ_b in every layer, the readout included:
    W ~ N(0, σ_w²/fan-in), b ~ N(0, σ_b²), thesis (2.26). The NTK parametrisation of the same network has the same
    function at initialisation, given the same key, and other gradients: :class:`ntkflow.networks.NTKDense`.

    Args:
        key: source of the initial weights.
        inputs: number of input coordinates.
        outputs: number of classes C.
        width: neurons of each hidden layer, with ``hidden_layers``; or give ``widths``.
        hidden_layers: hidden layers before the layer of features.
        widths: neurons of each hidden layer, one by one; may be empty.
        features: last-layer features n.
        activation: one of :data:`ntkflow.networks.ACTIVATIONS`.
        initialization: of all layers but the readout; ``he_normal`` unless told. Not with ``sigma_w``.
        readout_initialization: of the readout, which is linear: ``lecun_normal``, N(0, 1/n), unless told. Not with
            ``sigma_w``.
        parametrization: ``ntk`` needs ``sigma_w``.
        sigma_w: σ_w, in place of a named rule.
        sigma_b: σ_b, with ``sigma_w``; 0 unless told.
        dtype: of all parameters; None is JAX's default.

    Raises:
        ValueError: both or neither of ``widths`` and ``width`` with ``hidden_layers``; a rule and ``sigma_w``;
            ``sigma_b`` or ``ntk`` without ``sigma_w``; σ_w ≤ 0 or σ_b < 0.
    """

    layers: tuple[AbstractAffine, ...]
    readout: AbstractAffine
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        *,
        inputs: int,
        outputs: int,
        features: int,
        width: int | None = None,
        hidden_layers: int | None = None,
        widths: Sequence[int] | None = None,
        activation: Activation = "relu",
        initialization: Initialization | None = None,
        readout_initialization: Initialization | None = None,
        parametrization: Parametrization = "standard",
        sigma_w: float | None = None,
        sigma_b: float | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        sizes = [inputs, *_hidden(width, hidden_layers, widths), features]
        _one_rule(initialization, readout_initialization, parametrization, sigma_w, sigma_b)
        *layer_keys, readout_key = jax.random.split(key, len(sizes))

        def parameters(key: PRNGKeyArray, shape: tuple[int, int], rule: Initialization) -> tuple[Array, Array]:
            if sigma_w is not None:
                return gaussian(key, shape, sigma_w=sigma_w, sigma_b=sigma_b or 0.0, dtype=dtype)
            return initial_weight(key, shape, rule, dtype), initial_bias(key, shape, rule, dtype)

        def layer(key: PRNGKeyArray, size_in: int, size_out: int) -> AbstractAffine:
            if parametrization == "ntk" and sigma_w is not None:
                return NTKDense(key, size_in, size_out, sigma_w=sigma_w, sigma_b=sigma_b or 0.0, dtype=dtype)
            return Dense(*parameters(key, (size_out, size_in), initialization or "he_normal"))

        self.layers = tuple(map(layer, layer_keys, sizes[:-1], sizes[1:]))
        self.readout = (
            layer(readout_key, features, outputs)
            if parametrization == "ntk"
            else Readout(*parameters(readout_key, (outputs, features), readout_initialization or "lecun_normal"))
        )
        self.activation = activation

    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        """Last-layer features h(x) of one sample."""
        activation = ACTIVATIONS[self.activation]
        a = x.reshape(-1)
        for layer in self.layers:
            a = activation(layer(a))
        return a


def _hidden(width: int | None, hidden_layers: int | None, widths: Sequence[int] | None) -> tuple[int, ...]:
    if widths is None and width is not None and hidden_layers is not None:
        return (width,) * hidden_layers
    if widths is not None and width is None and hidden_layers is None:
        return tuple(widths)
    raise ValueError("MLP: give either widths, one for each hidden layer, or width and hidden_layers")


def _one_rule(
    initialization: Initialization | None,
    readout_initialization: Initialization | None,
    parametrization: Parametrization,
    sigma_w: float | None,
    sigma_b: float | None,
) -> None:
    if sigma_w is None:
        if parametrization == "ntk":
            raise ValueError("MLP: parametrization 'ntk' scales by sigma_w; give it")
        if sigma_b is not None:
            raise ValueError("MLP: sigma_b belongs to sigma_w; give both, or a named initialization")
        return
    if initialization is not None or readout_initialization is not None:
        raise ValueError("MLP: sigma_w is the rule of every layer; leave the named initializations away")
    if not sigma_w > 0 or (sigma_b is not None and not sigma_b >= 0):
        raise ValueError(f"MLP: sigma_w must be positive and sigma_b not negative, not {sigma_w} and {sigma_b}")
