"""The logits' empirical kernel as a matrix, for closed forms that need its eigenvectors."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.tangent import SampleNetwork


@eqx.filter_jit
def tangent_matrix(
    network: SampleNetwork,
    rows: Float[Array, "rows ..."],
    columns: Float[Array, "columns ..."],
    *,
    batch: int = 64,
) -> Float[Array, "outputs rows outputs columns"]:
    """Θ_{k,s}(xᵢ, xⱼ) = ⟨∇f_k(xᵢ), ∇f_s(xⱼ)⟩ of any network between two sets of samples, all pairs of outputs kept.

    A column is one backward derivative at ``columns`` and one forward derivative at ``rows``. No Jacobian is held:
    beside the result, the memory is that of ``batch`` gradients.

    Args:
        network: differentiable in its floating-point arrays.
        rows: the samples x.
        columns: the samples x'; the training samples, if there are fewer of them.
        batch: columns taken at once.
    """
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)

    def logits(inputs: Float[Array, "samples ..."]):  # noqa: ANN202
        return lambda parameters: eqx.combine(parameters, rest).logit_matrix(inputs)

    at_columns, backward = jax.vjp(logits(columns), parameters)
    _, forward = jax.linearize(logits(rows), parameters)

    def column(index: Array) -> Float[Array, "outputs rows"]:
        unit = jnp.zeros(at_columns.size, at_columns.dtype).at[index].set(1)
        (gradient,) = backward(unit.reshape(at_columns.shape))
        return forward(gradient)

    columns_last = jax.lax.map(column, jnp.arange(at_columns.size), batch_size=batch)
    return jnp.moveaxis(columns_last, 0, -1).reshape(*columns_last.shape[1:], *at_columns.shape)
