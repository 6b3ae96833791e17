"""Initial states without a network: random ones, and random ones that satisfy Theorem 5.2."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.flows.states import ClassState, SampleState, within_basis
from ntkflow.kernels import BlockKernel


def random_state(
    key: PRNGKeyArray,
    *,
    classes: int,
    per_class: int,
    features: int,
    weight_scale: float = 1.0,
    feature_scale: float = 0.5,
    rectified: bool = True,
) -> SampleState:
    """W ~ N(0, weight_scale²/n), H ~ feature_scale·N(0, 1), negative features set to 0 if ``rectified``, b = 0."""
    weight_key, feature_key = jax.random.split(key)
    weight = weight_scale / jnp.sqrt(features) * jax.random.normal(weight_key, (classes, features))
    h = feature_scale * jax.random.normal(feature_key, (features, classes * per_class))
    return SampleState(jax.nn.relu(h) if rectified else h, weight, jnp.zeros(classes))


def zero_invariant_state(
    key: PRNGKeyArray, kernel: BlockKernel, *, features: int, feature_scale: float = 0.5, within_scale: float = 0.5
) -> SampleState:
    """A random state with E = 0, ⟨h⟩ = 0 and b = 1/C: the assumptions of paper 3, Theorem 5.2.

    E = 0 forces WᵀW/m to equal the feature side of (26), which then has rank at most C. The features are therefore
    drawn in a random (C−1)-dimensional subspace, the class means with mean zero, and W is the square root of the
    feature side there, with rows that sum to zero. Then R₁1 = 0, so b and ⟨h⟩ stay where they are. W is turned so that
    WH₁ preserves the orientation of the class means: without within-class scatter the flow conserves it, and from the
    other one never reaches R₁ = 0 (derivations: docs/theory.md).

    Args:
        key: source of the random numbers.
        kernel: Θʰ, (κ_d, κ_c, κ_n), with μ_single > 0 and μ_class > 0.
        features: n ≥ C − 1.
        feature_scale: standard deviation of the class means' coordinates in the subspace.
        within_scale: standard deviation of the within-class coordinates in the subspace.

    Raises:
        ValueError: too few features, or a kernel whose μ_single or μ_class is not positive.
    """
    classes, m = kernel.classes, kernel.per_class
    if features < classes - 1:
        raise ValueError(f"a state with E = 0 needs at least C - 1 = {classes - 1} features, not {features}")
    for name, value in (("mu_single", kernel.lambda_single), ("mu_class", kernel.lambda_class)):
        if not float(value) > 0:
            raise ValueError(f"a state with E = 0 needs {name} > 0, not {float(value):g}")
    subspace_key, mean_key, within_key, rotation_key = jax.random.split(key, 4)
    subspace = _orthonormal(subspace_key, features, classes - 1)
    means = feature_scale * jax.random.normal(mean_key, (classes - 1, classes))
    means = means - jnp.mean(means, axis=1, keepdims=True)
    within = within_scale * jax.random.normal(within_key, (classes - 1, classes * (m - 1))) / jnp.sqrt(m)
    # The means sum to zero, so the α-term of (26) vanishes.
    feature_side = means @ means.T / kernel.lambda_class + within @ within.T / kernel.lambda_single
    # Rows of W orthogonal to 1 are spanned by the Helmert basis; W is turned at random within it.
    basis = within_basis(classes)
    turned = _orthonormal(rotation_key, classes - 1, classes - 1) @ _square_root(m * feature_side)
    orientation = jnp.sign(jnp.linalg.det(turned @ means @ basis.T))
    turned = turned.at[0].multiply(orientation)
    return ClassState(
        class_means=subspace @ means,
        within=subspace @ within,
        weight=basis.T @ turned @ subspace.T,
        bias=jnp.full(classes, 1 / classes),
    ).to_sample()


def _orthonormal(key: PRNGKeyArray, rows: int, columns: int) -> Float[Array, "rows columns"]:
    return jnp.linalg.qr(jax.random.normal(key, (rows, columns)))[0]


def _square_root(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.sqrt(jnp.maximum(eigenvalues, 0.0))) @ vectors.T
