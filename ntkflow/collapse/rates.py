"""How fast the class flow comes to a fixed point."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows import ClassFlow, ClassState


def linear_rates(flow: ClassFlow, state: ClassState) -> Float[Array, "outputs modes"]:
    """Decay rates of the residual at a fixed point with R₁ = 0 and WH₂ = 0, each row rising; C + (columns of H₂) modes.

    With R = [R₁, WH₂] the linearised flow is ZṘ = −WWᵀ R D − m R G, D = diag(μ_class I + κ_n m 11ᵀ, μ_single I) and
    G = [H₁, H₂]ᵀ[H₁, H₂] + [1; 0][1; 0]ᵀ. On the i-th eigenvector of WWᵀ, with the eigenvalue g_i, the rates are the
    eigenvalues of g_i D + m G, over Z. One that is 0 belongs to a mode that is no residual (aᵀW = 0), or to a decay as
    1/t.
    """
    kernel = flow.kernel
    m, classes = kernel.per_class, kernel.classes
    columns = jnp.concatenate([state.class_means, state.within], axis=1)
    on_classes = jnp.concatenate([jnp.ones(classes), jnp.zeros(state.within.shape[1])])
    diagonal = jnp.concatenate(
        [jnp.full(classes, kernel.lambda_class), jnp.full(state.within.shape[1], kernel.lambda_single)]
    )
    constant = jnp.outer(on_classes, on_classes)
    coupling = jnp.diag(diagonal) + kernel.different_class * m * constant
    gram = m * (columns.T @ columns + constant)
    readout = jnp.linalg.eigvalsh(state.weight @ state.weight.T)
    return jax.vmap(lambda g: jnp.linalg.eigvalsh(g * coupling + gram))(readout) / flow.loss_scale


def slowest_rate(flow: ClassFlow, state: ClassState) -> Float[Array, ""]:
    """The least of :func:`linear_rates` above 1e-9 of the largest: after it, the flow comes as e^{−rt} at least."""
    rates = linear_rates(flow, state)
    largest = jnp.max(rates)
    return jnp.min(jnp.where(rates > 1e-9 * largest, rates, largest))
