"""One number a statement: 0 exactly where NC1, NC2, NC3 or NC4 holds at a fixed point."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows import ClassState


def collapse_distances(state: ClassState) -> Float[Array, "4"]:
    """Distances from NC1 to NC4, of W, the class means and S alone; Φ = I − 11ᵀ/C. NaN where M̄ or W is 0.

    - NC1: Tr S/‖M̄‖², the metric ``nc1_trace_ratio``;
    - NC2: ‖M̄ᵀM̄/‖M̄ᵀM̄‖ − Φ/‖Φ‖‖, lengths included, so stricter than ``nc2_etf_distance``;
    - NC3: ‖Wᵀ/‖W‖ − M̄/‖M̄‖‖, the metric ``nc3_means``;
    - NC4: ‖WᵀΦ/‖WᵀΦ‖ − M̄/‖M̄‖‖. With R₁ = 0 and one-hot targets up to a shift it is 0 exactly if largest logit and
      nearest class mean agree for every h in ℝⁿ; the metric ``nc4_disagreement`` asks
      the training samples only.
    """
    centred = state.class_means - jnp.mean(state.class_means, axis=1, keepdims=True)
    off_mean = state.weight - jnp.mean(state.weight, axis=0, keepdims=True)
    gram = centred.T @ centred
    etf = jnp.eye(gram.shape[0]) - 1 / gram.shape[0]
    return jnp.stack(
        [
            jnp.sum(state.within**2) / jnp.sum(centred**2),
            _apart(gram, etf),
            _apart(state.weight.T, centred),
            _apart(off_mean.T, centred),
        ]
    )


def _apart(a: Float[Array, "rows columns"], b: Float[Array, "rows columns"]) -> Float[Array, ""]:
    return jnp.linalg.norm(a / jnp.linalg.norm(a) - b / jnp.linalg.norm(b))
