"""What duals by quadrature share: they say how large their error is, and refuse activations without moments."""

from __future__ import annotations

import abc
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation

ScalarFunction = Callable[[Float[Array, "..."]], Float[Array, "..."]]
"""An activation, applied to arrays number by number."""


class AbstractQuadratureDual(AbstractDualActivation):
    """A dual whose moments are sums, with an estimate of how far these are from the integrals."""

    @abc.abstractmethod
    def error_estimate(self, variance: Float[Array, " points"]) -> Float[Array, " points"]:
        """Largest relative error of E[φ²] and E[φ'²] at each variance, estimated by comparing two computations."""


def require_moments(function: ScalarFunction) -> None:
    """Refuse a function that is not applied number by number, or whose square has no mean under N(0, 1).

    Raises:
        ValueError: another shape, values that are not finite, or φ(z)² growing faster than the density falls.
    """
    # As far out as e^{−z²/2} is a number of this precision; the mean over N(0, 1) lives near |z| ~ 1 … 10.
    far = 36.0 if jax.config.read("jax_enable_x64") else 12.0
    # A dual may be made while something else is being traced; its activation is looked at all the same.
    with jax.ensure_compile_time_eval():
        z = jnp.linspace(-far, far, 145)
        values = np.asarray(function(z))
    if values.shape != z.shape:
        raise ValueError(f"an activation is applied number by number: of shape {z.shape} it made {values.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        density = np.exp(2 * np.log(np.maximum(np.abs(values), 1e-150)) - np.asarray(z) ** 2 / 2)
    ends = max(density[0], density[-1])
    if not np.all(np.isfinite(values)) or not ends <= 1e-3 * np.max(density[48:97]):
        raise ValueError(
            "the activation has no finite second moment under a Gaussian: φ(z)² must grow slower than e^{z²/2}"
        )


def derivative_of(function: ScalarFunction) -> ScalarFunction:
    """φ' by automatic differentiation, number by number."""

    def derivative(z: Float[Array, "..."]) -> Float[Array, "..."]:
        return jax.jvp(function, (z,), (jnp.ones_like(z),))[1]

    return derivative
