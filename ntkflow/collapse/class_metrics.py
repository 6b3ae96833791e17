"""The neural-collapse metrics that need no single sample: from class means, within-class scatter and W alone."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

CLASS_METRICS = (
    "nc1_trace_ratio",
    "nc1_pinv",
    "nc2_etf_distance",
    "nc2_norm_variation",
    "nc2_angle_deviation",
    "nc3_unit_means",
    "nc3_means",
)
"""Those of :data:`ntkflow.collapse.METRICS` that :func:`class_metrics` gives."""


def class_metrics(
    class_means: Float[Array, "features classes"],
    within: Float[Array, "features columns"],
    weight: Float[Array, "classes features"],
) -> dict[str, Float[Array, ""]]:
    """The metrics of :data:`CLASS_METRICS` at one moment, in any orthonormal coordinates of feature space.

    With S = FFᵀ, the sum over the classes of their covariances, Σ_W = S/C. So Tr Σ_W = ‖F‖²/C, and Tr(Σ_W Σ_B†) needs
    F only in the directions of the centred class means. The metrics that look at each class or feature by itself
    (``nc1_within_std``, ``nc1_cdnv``, ``nc4_disagreement``) are not determined by S.

    Args:
        class_means: H₁, not centred.
        within: F, any factor of S, such as ``within`` of a :class:`ntkflow.flows.ClassState`.
        weight: W, one row for each class.
    """
    classes = class_means.shape[1]
    centred = class_means - jnp.mean(class_means, axis=1, keepdims=True)
    lengths = jnp.linalg.norm(centred, axis=0)
    unit = centred / lengths
    gram = unit.T @ unit
    etf = jnp.eye(classes) - 1 / classes
    pairs = ~jnp.eye(classes, dtype=bool)
    off = jnp.where(pairs, (gram + 1 / (classes - 1)) ** 2, 0.0)
    return {
        # Σ_W = S/C and Σ_B = M̄M̄ᵀ/C: the two C cancel.
        "nc1_trace_ratio": jnp.sum(within**2) / jnp.sum(centred**2),
        "nc1_pinv": _trace_against_pseudo_inverse(within, centred) / classes,
        "nc2_etf_distance": jnp.linalg.norm(gram / jnp.linalg.norm(gram) - etf / jnp.linalg.norm(etf)),
        "nc2_norm_variation": jnp.std(lengths) / jnp.mean(lengths),
        "nc2_angle_deviation": jnp.sqrt(jnp.sum(off) / (classes * (classes - 1))),
        "nc3_unit_means": _distance_of_directions(weight.T, unit),
        "nc3_means": _distance_of_directions(weight.T, centred),
    }


def _trace_against_pseudo_inverse(
    within: Float[Array, "features columns"], centred: Float[Array, "features classes"]
) -> Float[Array, ""]:
    """Tr(S (M̄M̄ᵀ)†) from the thin SVD of the centred class means, whose rank is C − 1 by construction."""
    neurons, classes = centred.shape
    directions, singular, _ = jnp.linalg.svd(centred, full_matrices=False)
    rank = min(neurons, classes - 1)
    return jnp.sum(jnp.sum((directions[:, :rank].T @ within) ** 2, axis=1) / singular[:rank] ** 2)


def _distance_of_directions(a: Float[Array, "rows columns"], b: Float[Array, "rows columns"]) -> Float[Array, ""]:
    return jnp.linalg.norm(a / jnp.linalg.norm(a) - b / jnp.linalg.norm(b))
