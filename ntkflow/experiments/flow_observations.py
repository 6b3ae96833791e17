"""What is recorded of a block flow at every saved time, whatever the coordinates it was integrated in."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.collapse import METRICS, class_metrics, collapse_metrics
from ntkflow.flows import AbstractBlockFlow, InvariantFlow, InvariantSides, InvariantState, Trajectory

INVARIANT: dict[str, str] = {
    "invariant_norm": "‖E‖_F, E of paper 3 (26)",
    "invariant_relative_norm": "‖E‖_F over the sum of the Frobenius norms of its two sides",
    "invariant_alignment": "cosine between WᵀW/m and the feature side of the invariant",
    "invariant_drift": "‖E(t) − E(0)‖_F over the sum of the Frobenius norms of both sides at t = 0",
    "scatter_minimum": "smallest eigenvalue of the within-class scatter S, which follows from E here, over ‖W‖²_F",
}
"""Every number about the invariant, and its definition. One of the last two is recorded, never both."""


def observe(trajectory: Trajectory[Any], *, samples: bool) -> dict[str, np.ndarray]:
    """Invariant, biases, WWᵀ and collapse metrics at every saved time of a block flow.

    Args:
        trajectory: of a block flow.
        samples: whether to look at single samples, for the metrics that need them.

    Returns:
        By name, arrays with a leading axis of times. ``invariant_drift`` where the within-class part is carried along;
        where it follows from the invariant, E cannot drift, and ``scatter_minimum`` shows what rounding did to S.
    """
    assert isinstance(trajectory.flow, AbstractBlockFlow)
    found = _observe(trajectory.flow, trajectory.states, samples)
    order = [*INVARIANT, "bias", "weight_gram", *METRICS]
    return {name: np.asarray(found[name]) for name in order if name in found}


def derived_scatter(flow: AbstractBlockFlow[Any], state: Any) -> bool:
    """Whether S is not carried by the state but follows from the invariant."""
    return isinstance(flow, InvariantFlow) and state.within is None


def scatter_minimum(flow: InvariantFlow, state: InvariantState) -> Float[Array, ""]:
    """The smallest eigenvalue of S over ‖W‖²_F: exactly at least 0, so that what is below is rounding."""
    return jnp.linalg.eigvalsh(flow.scatter(state))[0] / jnp.sum(state.weight**2)


@eqx.filter_jit
def _observe(flow: AbstractBlockFlow[Any], states: Any, samples: bool) -> dict[str, Float[Array, "times ..."]]:
    first = InvariantSides.of(flow.class_state(jax.tree.map(lambda leaf: leaf[0], states)), flow.kernel)

    def one(state: Any) -> dict[str, Float[Array, "..."]]:
        # n×n matrices of one time only exist at once.
        split = flow.class_state(state)
        sides = InvariantSides.of(split, flow.kernel)
        if isinstance(flow, InvariantFlow) and derived_scatter(flow, state):
            check = {"scatter_minimum": scatter_minimum(flow, state)}
        else:
            check = {"invariant_drift": jnp.linalg.norm(sides.invariant - first.invariant) / first.scale}
        if samples:
            sample = flow.sample_state(state)
            metrics = collapse_metrics(sample.features, sample.weight, sample.bias)
        else:
            metrics = class_metrics(split.class_means, split.within, split.weight)
        return {
            "invariant_norm": sides.norm,
            "invariant_relative_norm": sides.norm / sides.scale,
            "invariant_alignment": sides.alignment,
            **check,
            "bias": split.bias,
            "weight_gram": split.weight @ split.weight.T,
            **metrics,
        }

    return jax.lax.map(one, states)
