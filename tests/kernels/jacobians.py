"""Tangent kernels the expensive way: from the whole Jacobian with respect to all parameters, without JAX."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
from networks.plain_mlp import jacobians

from ntkflow.networks import MLP


def shaken(network: MLP, seed: int = 0) -> MLP:
    """The network with noise on every parameter, so that no bias is 0."""
    generator = np.random.default_rng(seed)
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    noisy = jax.tree.map(lambda leaf: leaf + 0.3 * generator.standard_normal(leaf.shape), parameters)
    return eqx.combine(noisy, rest)


def gram(network: MLP, inputs: np.ndarray, of: str) -> np.ndarray:
    """Θ_{p,q}(xᵢ, xⱼ) over all parameters, (neurons, samples, neurons, samples).

    The readout's parameters do not move the features: their columns of that Jacobian are 0.
    """
    jacobian = jacobians(network, inputs)[of == "logits"]
    return np.einsum("piz,qjz->piqj", jacobian, jacobian)
