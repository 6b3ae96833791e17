"""Two ways into the linear regime from any network: its first-order expansion, and outputs scaled up."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.networks.affine import AbstractAffine
from ntkflow.networks.classifier import AbstractClassifier


@final
class LinearizedNetwork(AbstractClassifier):
    """f_lin(x; θ) = f(x; θ₀) + ∇f(x; θ₀)(θ − θ₀), trained in θ (Lee et al. 2019; slides 003).

    Its tangent kernel is that of the network at θ₀ wherever θ is. Trained like any network; θ₀ has no gradient, but
    weight decay would pull at it too: this network is for plain descent, momentum and the flow. In closed form:
    :class:`ntkflow.flows.KernelRegressionFlow` with the empirical kernel, and :func:`displacement_of` for θ itself.

    Features are expanded alike, h(x; θ₀) + ∇h(x; θ₀)(θ − θ₀); W h + b of them is not f_lin, which has no product of two
    displacements.

    Args:
        at: the network at θ₀.
        displacement: θ − θ₀, of the network's structure with its floating-point arrays alone; 0 unless told.
    """

    at: AbstractClassifier
    displacement: AbstractClassifier

    def __init__(self, at: AbstractClassifier, displacement: AbstractClassifier | None = None) -> None:
        self.at = at
        parameters = eqx.filter(at, eqx.is_inexact_array)
        self.displacement = jax.tree.map(jnp.zeros_like, parameters) if displacement is None else displacement

    @property
    def readout(self) -> AbstractAffine:  # pyright: ignore[reportIncompatibleVariableOverride]
        """W and b at θ."""
        parameters, rest = self._start()
        return eqx.combine(jax.tree.map(jnp.add, parameters, self.displacement), rest).readout

    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        """h expanded to first order."""
        parameters, rest = self._start()
        value, moved = jax.jvp(lambda at: eqx.combine(at, rest).features(x), (parameters,), (self.displacement,))
        return value + moved

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " outputs"]:
        """f_lin(x)."""
        parameters, rest = self._start()
        value, moved = jax.jvp(lambda at: eqx.combine(at, rest)(x), (parameters,), (self.displacement,))
        return value + moved

    def parameter_count(self) -> int:
        """As many as the network has."""
        return self.at.parameter_count()

    def _start(self) -> tuple[AbstractClassifier, AbstractClassifier]:
        parameters, rest = eqx.partition(self.at, eqx.is_inexact_array)
        return jax.lax.stop_gradient(parameters), rest


@final
class LazyNetwork(AbstractClassifier):
    """α(f(x; θ) − f(x; θ₀)), trained in θ from θ₀ on: lazy for large α (Chizat, Oyallon and Bach 2019).

    Its kernel is α² that of f. With the loss ‖R‖²/(2α²Z) time is what it is for f, and θ moves by 1/α as much: the
    distance from :class:`LinearizedNetwork` shrinks like 1/α at any width. θ₀ has no gradient, but weight decay would
    pull at it too.

    Args:
        network: at θ, which is trained; θ₀ is where it is now.
        scale: α > 0.

    Raises:
        ValueError: a scale that is not positive.
    """

    network: AbstractClassifier
    start: AbstractClassifier
    scale: float = eqx.field(static=True)

    def __init__(self, network: AbstractClassifier, scale: float) -> None:
        if not scale > 0:
            raise ValueError(f"scale must be positive, not {scale}")
        self.network = network
        self.start = network
        self.scale = float(scale)

    @property
    def readout(self) -> AbstractAffine:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The network's W and b, unscaled."""
        return self.network.readout

    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        """The network's features, unscaled."""
        return self.network.features(x)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " outputs"]:
        """α(f(x; θ) − f(x; θ₀)); exactly 0 at the start."""
        parameters, rest = eqx.partition(self.start, eqx.is_inexact_array)
        start = eqx.combine(jax.lax.stop_gradient(parameters), rest)
        return self.scale * (self.network(x) - start(x))

    def parameter_count(self) -> int:
        """As many as the network has."""
        return self.network.parameter_count()


@eqx.filter_jit
def displacement_of(
    network: AbstractClassifier,
    inputs: Float[Array, "samples ..."],
    coefficients: Float[Array, "outputs samples"],
) -> AbstractClassifier:
    """θ − θ₀ = ∇f(X; θ₀)ᵀ[a] of the linearised network whose outputs are f₀ + Θ(·, X)[a].

    Args:
        network: at θ₀.
        inputs: X.
        coefficients: a, as :meth:`ntkflow.flows.KernelRegressionFlow.coefficients` gives it.
    """
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    (found,) = jax.vjp(lambda at: eqx.combine(at, rest).logit_matrix(inputs), parameters)[1](coefficients)
    return found
