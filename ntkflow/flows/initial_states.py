"""Initial states without a network: random ones, those of Theorem 5.2, and steps away from them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow.flows.states import ClassState, SampleState, within_basis
from ntkflow.kernels import BlockKernel


def random_state(
    key: PRNGKeyArray,
    *,
    classes: int,
    per_class: int,
    features: int,
    weight_scale: float | Float[Array, ""] = 1.0,
    feature_scale: float | Float[Array, ""] = 0.5,
    rectified: bool = True,
) -> SampleState:
    """W ~ N(0, weight_scale²/n), H ~ feature_scale·N(0, 1), negative features set to 0 if ``rectified``, b = 0."""
    weight_key, feature_key = jax.random.split(key)
    weight = weight_scale / jnp.sqrt(features) * jax.random.normal(weight_key, (classes, features))
    h = feature_scale * jax.random.normal(feature_key, (features, classes * per_class))
    return SampleState(jax.nn.relu(h) if rectified else h, weight, jnp.zeros(classes))


def zero_invariant_state(
    key: PRNGKeyArray,
    kernel: BlockKernel,
    *,
    features: int,
    feature_scale: float | Float[Array, ""] = 0.5,
    within_scale: float | Float[Array, ""] = 0.5,
) -> SampleState:
    """A random state with E = 0, ⟨h⟩ = 0 and b = 1/C: the assumptions of paper 3, Theorem 5.2.

    E = 0 forces WᵀW/m to equal the feature side of (26), which then has rank at most C. The features are therefore
    drawn in a random (C−1)-dimensional subspace, the class means with mean zero, and W is the square root of the
    feature side there, with rows that sum to zero. Then R₁1 = 0, so b and ⟨h⟩ stay where they are. W is turned so that
    WH₁ preserves the orientation of the class means: without within-class scatter the flow conserves it, and from the
    other one never reaches R₁ = 0 (derivations: docs/theory.md).

    Args:
        key: source of the random numbers.
        kernel: Θʰ, (κ_d, κ_c, κ_n), with μ_single > 0 and μ_class > 0; not checked under ``jit`` and ``vmap``.
        features: n ≥ C − 1.
        feature_scale: standard deviation of the class means' coordinates in the subspace.
        within_scale: standard deviation of the within-class coordinates in the subspace.

    Raises:
        ValueError: too few features, or a kernel whose μ_single or μ_class is not positive.
    """
    _, state = _balanced(key, kernel, features, feature_scale, within_scale)
    return state.to_sample()


def unbalanced_state(
    key: PRNGKeyArray,
    kernel: BlockKernel,
    *,
    features: int,
    feature_scale: float | Float[Array, ""] = 0.5,
    within_scale: float | Float[Array, ""] = 0.5,
    weight_ratio: float | Float[Array, ""] = 1.0,
    outside_scale: float | Float[Array, ""] = 0.0,
    mean_scale: float | Float[Array, ""] = 0.0,
) -> SampleState:
    """:func:`zero_invariant_state`, changed by three numbers that each take away one assumption of Theorem 5.2.

    - ``weight_ratio`` s: W is multiplied by it. With the W of before E = (s² − 1)WᵀW/m in the row space of W.
    - ``outside_scale``: within-class scatter S_out outside that space, uncorrelated over the samples with what is
      inside. E gets −S_out/μ_single there, and since WS_out = 0 nothing moves it: Tr S_out stays.
    - ``mean_scale``: ⟨h⟩ = mean_scale·v with a random unit vector v outside, and √(C m/μ_global)·mean_scale·uvᵀ more
      in W before s, u = 1/√C. That leaves E as it is, but b goes elsewhere than to 1/C, and (62), (66) instead of
      Theorem 5.2 describe the end where E = 0.

    Not a construction of the sources. Zero for ``outside_scale`` and ``mean_scale`` leaves their directions empty. The
    random numbers are those of :func:`zero_invariant_state` for the same key.

    Args:
        key: source of the random numbers.
        kernel: Θʰ, as for :func:`zero_invariant_state`.
        features: n ≥ C + 1.
        feature_scale: standard deviation of the class means' coordinates.
        within_scale: standard deviation of the within-class coordinates in the row space of W.
        weight_ratio: s > 0.
        outside_scale: standard deviation of the within-class coordinates outside.
        mean_scale: ‖⟨h⟩‖.

    Raises:
        ValueError: too few features, or a kernel whose μ_single or μ_class is not positive.
    """
    classes, m = kernel.classes, kernel.per_class
    if features < classes + 1:
        raise ValueError(f"an unbalanced state needs at least C + 1 = {classes + 1} features, not {features}")
    subspace, state = _balanced(key, kernel, features, feature_scale, within_scale)
    mean_key, outside_key = jax.random.split(jax.random.fold_in(key, 1))
    direction = _away_from(subspace, jax.random.normal(mean_key, (features, 1)))
    direction = direction / jnp.linalg.norm(direction)
    taken = jnp.concatenate([subspace, direction], axis=1)

    outside = _away_from(taken, jax.random.normal(outside_key, (features, classes * (m - 1))))
    # Without correlation to the scatter inside: else WS has a part outside, and W goes there.
    inside, _ = jnp.linalg.qr((subspace.T @ state.within).T)
    outside = outside_scale / jnp.sqrt(m) * _away_from(inside, outside.T).T

    mean = mean_scale * direction[:, 0]
    of_mean = jnp.sqrt(m / kernel.lambda_global) * jnp.broadcast_to(mean, (classes, features))
    return ClassState(
        class_means=state.class_means + mean[:, None],
        within=state.within + outside,
        weight=weight_ratio * (state.weight + of_mean),
        bias=state.bias,
    ).to_sample()


def _balanced(
    key: PRNGKeyArray,
    kernel: BlockKernel,
    features: int,
    feature_scale: float | Float[Array, ""],
    within_scale: float | Float[Array, ""],
) -> tuple[Float[Array, "features dims"], ClassState]:
    """The state of :func:`zero_invariant_state`, and an orthonormal basis of the subspace that it lies in."""
    classes, m = kernel.classes, kernel.per_class
    if features < classes - 1:
        raise ValueError(f"a state with E = 0 needs at least C - 1 = {classes - 1} features, not {features}")
    for name, value in (("mu_single", kernel.lambda_single), ("mu_class", kernel.lambda_class)):
        if not isinstance(value, Tracer) and not float(value) > 0:
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
    return subspace, ClassState(
        class_means=subspace @ means,
        within=subspace @ within,
        weight=basis.T @ turned @ subspace.T,
        bias=jnp.full(classes, 1 / classes),
    )


def _away_from(basis: Float[Array, "rows dims"], columns: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """The columns without their part in the span of an orthonormal basis, taken off twice for the sake of rounding."""
    once = columns - basis @ (basis.T @ columns)
    return once - basis @ (basis.T @ once)


def _orthonormal(key: PRNGKeyArray, rows: int, columns: int) -> Float[Array, "rows columns"]:
    return jnp.linalg.qr(jax.random.normal(key, (rows, columns)))[0]


def _square_root(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.sqrt(jnp.maximum(eigenvalues, 0.0))) @ vectors.T
