"""Neural-collapse metrics, every definition under its own name.

Several definitions of "NC1" and "NC3" are in use; none of them is called that here. All take features H (n×N) of
samples sorted by class, every class of the same size m. Notation: ⟨h⟩_c class means, ⟨h⟩ their mean, Σ_W = (1/N)
Σ_{c,i} (h_i − ⟨h⟩_c)(h_i − ⟨h⟩_c)ᵀ, Σ_B = (1/C) Σ_c (⟨h⟩_c − ⟨h⟩)(⟨h⟩_c − ⟨h⟩)ᵀ.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.collapse.class_metrics import class_metrics
from ntkflow.kernels import split_eigenspaces

METRICS: dict[str, str] = {
    "nc1_within_std": "NC1. Standard deviation of a feature within a class, averaged over features and classes "
    "(paper 3, Fig. 2c).",
    "nc1_trace_ratio": "NC1. Tr Σ_W / Tr Σ_B.",
    "nc1_pinv": "NC1. Tr(Σ_W Σ_B†)/C, the pseudo-inverse cut at the C − 1 largest eigenvalues "
    "(Papyan, Han, Donoho 2020).",
    "nc1_cdnv": "NC1. Class-distance normalised variance: mean over pairs of classes of (v_c + v_c')/(2‖⟨h⟩_c − "
    "⟨h⟩_c'‖²), v_c the mean squared distance to the class mean (Galanti, György, Hutter 2021).",
    "nc2_etf_distance": "NC2. ‖MᵀM/‖MᵀM‖_F − Φ/‖Φ‖_F‖_F, M the centred class means scaled to unit length, "
    "Φ = I − 11ᵀ/C (paper 3, Fig. 2d).",
    "nc2_norm_variation": "NC2. Standard deviation over mean of the lengths of the centred class means.",
    "nc2_angle_deviation": "NC2. Root mean square over pairs of classes of cos(⟨h⟩_c − ⟨h⟩, ⟨h⟩_c' − ⟨h⟩) + 1/(C − 1).",
    "nc3_unit_means": "NC3. ‖Wᵀ/‖W‖_F − M/‖M‖_F‖_F with centred class means scaled to unit length (paper 3, Fig. 2e).",
    "nc3_means": "NC3. The same with the centred class means as they are (Papyan, Han, Donoho 2020).",
    "nc4_disagreement": "NC4. Share of samples whose largest logit is not that of the nearest class mean.",
}
"""Name of each metric and its definition; all are 0 at collapse."""


def collapse_metrics(
    features: Float[Array, "features samples"],
    weight: Float[Array, "classes features"],
    bias: Float[Array, " classes"],
) -> dict[str, Float[Array, ""]]:
    """All metrics of :data:`METRICS` at one moment.

    Args:
        features: H, samples sorted by class.
        weight: W, one row for each class.
        bias: b.

    Raises:
        ValueError: if the samples cannot be sorted into classes of equal size.
    """
    classes = weight.shape[0]
    split = split_eigenspaces(features, classes)
    means, within = split.class_means, split.within_class
    per_class = within.shape[-1]

    variance = jnp.mean(within**2, axis=-1)  # (features, classes)
    class_variance = jnp.sum(variance, axis=0)
    distances = jnp.sum((means[:, :, None] - means[:, None, :]) ** 2, axis=0)
    pairs = ~jnp.eye(classes, dtype=bool)
    safe_distances = jnp.where(pairs, distances, 1.0)
    normalised = (class_variance[:, None] + class_variance[None, :]) / (2 * safe_distances)

    samples = features.reshape(features.shape[0], classes, per_class)
    class_means = means + split.global_mean[:, None]
    logits = jnp.einsum("kp,pci->kci", weight, samples) + bias[:, None, None]
    to_means = jnp.sum(samples**2, axis=0)[None] - 2 * jnp.einsum("pk,pci->kci", class_means, samples)
    to_means = to_means + jnp.sum(class_means**2, axis=0)[:, None, None]

    return {
        "nc1_within_std": jnp.mean(jnp.sqrt(variance)),
        "nc1_cdnv": jnp.sum(jnp.where(pairs, normalised, 0.0)) / (classes * (classes - 1)),
        "nc4_disagreement": jnp.mean(jnp.argmax(logits, axis=0) != jnp.argmin(to_means, axis=0), dtype=weight.dtype),
        **class_metrics(means, within.reshape(features.shape[0], -1) / jnp.sqrt(per_class), weight),
    }
