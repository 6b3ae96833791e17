"""What a `relaxation` scenario records of a state, whichever flow it belongs to."""

from __future__ import annotations

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.collapse import METRICS, collapse_metrics
from ntkflow.experiments.relaxed_flows import one_size
from ntkflow.flows import (
    AbstractClassBlockFlow,
    AbstractFlow,
    AccountedFlow,
    ClassFlow,
    CorrelatedNoiseFlow,
    CrossEntropyFlow,
    InvariantSides,
    MatrixBlockFlow,
    NoisyFlow,
    VaryingValuesFlow,
    WeightDecayFlow,
)

Recorded = dict[str, Float[Array, "..."]]

NEEDS_ONE_SIZE = ("nc4_disagreement",)
"""Metrics that count samples, and mean something else where classes are of unequal sizes: they are left out there."""


class Recorder(eqx.Module):
    """What is recorded of each state of one case.

    Args:
        flow: the flow of the case.
        initial: its initial state, which changes of E are measured from.
        sizes: m_c of each class.
    """

    flow: AbstractFlow[Any]
    first: InvariantSides | None
    invariant: Float[Array, "dims dims"] | None
    sizes: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, flow: AbstractFlow[Any], initial: Any, sizes: tuple[int, ...]) -> None:
        self.flow = flow
        self.sizes = sizes
        self.first = _sides(flow, jnp.zeros(()), initial)
        self.invariant = _invariant(flow, jnp.zeros(()), initial)

    def __call__(self, state: Any) -> Recorded:
        """The record of a state on a noisy path. There E follows no law that the state alone determines."""
        found = self.at(jnp.zeros(()), state)
        del found["invariant_law_error"]
        return found

    def at(self, t: Float[Array, ""], state: Any, account: Float[Array, "dims dims"] | None = None) -> Recorded:
        """The record at a time. ``account`` is what E has moved by the flow's law besides what the state says."""
        own, bare = _unwrapped(self.flow, state)
        sample = own.sample_state(bare)
        balanced = one_size(sample, self.sizes)
        metrics = collapse_metrics(balanced.features, balanced.weight, balanced.bias)
        if len(set(self.sizes)) > 1:
            metrics.update({name: jnp.asarray(jnp.nan) for name in NEEDS_ONE_SIZE})
        residual = own.residual(bare)
        return {
            "residual_norm": self.flow.residual_norms(state),
            "loss": self.flow.loss(state),
            "class_residual": jnp.linalg.norm(_class_means(residual, self.sizes), axis=0),
            "weight_cosine": _cosines(sample.weight.T),
            "mean_cosine": _cosines(_class_means(sample.features, self.sizes)),
            **self._of_invariant(t, state, account),
            **{name: metrics[name] for name in METRICS},
        }

    def _of_invariant(self, t: Float[Array, ""], state: Any, account: Float[Array, "dims dims"] | None) -> Recorded:
        sides, now = _sides(self.flow, t, state), _invariant(self.flow, t, state)
        nothing = jnp.asarray(jnp.nan)
        if sides is None or now is None or self.first is None or self.invariant is None:
            names = ("relative_norm", "alignment", "change", "law_error")
            return {f"invariant_{name}": nothing for name in names}
        moved = now - self.invariant
        by_law = jnp.zeros_like(moved) if account is None else account
        if isinstance(self.flow, AccountedFlow):
            by_law = by_law + state.account
        return {
            "invariant_relative_norm": jnp.linalg.norm(now) / sides.scale,
            "invariant_alignment": sides.alignment,
            "invariant_change": jnp.linalg.norm(moved) / self.first.scale,
            "invariant_law_error": jnp.linalg.norm(moved - by_law) / self.first.scale,
        }


@eqx.filter_jit
def record_over_times(
    recorder: Recorder, times: Float[Array, " times"], states: Any, account: Float[Array, "times dims dims"] | None
) -> Recorded:
    """The records at all times."""
    return jax.lax.map(lambda here: recorder.at(*here), (times, states, account))


def jumps_of_invariant(
    flow: VaryingValuesFlow, times: Float[Array, " times"], states: Any
) -> Float[Array, "times dims dims"]:
    """What E has jumped by until each time; every jump's own time must be among them."""
    total = jnp.zeros((states.weight.shape[-1], states.weight.shape[-1]))
    found, knots = [], [float(t) for t in flow.times]
    for index, time in enumerate(times):
        if float(time) in knots and index > 0:
            state = jax.tree.map(lambda leaf, index=index: leaf[index], states)
            total = total + flow.invariant_jump(knots.index(float(time)), state)
        found.append(total)
    return jnp.stack(found)


def _unwrapped(flow: AbstractFlow[Any], state: Any) -> tuple[Any, Any]:
    """The flow that knows about samples, and its state."""
    match flow:
        case AccountedFlow():
            return flow.flow, state.state
        case NoisyFlow():
            return flow.flow, state
        case CorrelatedNoiseFlow():
            return flow.flow, state.state
        case _:
            return flow, state


def _sides(flow: AbstractFlow[Any], t: Float[Array, ""], state: Any) -> InvariantSides | None:
    """The two sides of the flow's own E; None where it has none."""
    own, bare = _unwrapped(flow, state)
    match own:
        case AbstractClassBlockFlow():
            return own.invariant_sides(bare) if own.has_invariant else None
        case MatrixBlockFlow():
            return own.unprojected(bare) if own.invariants(bare) else None
        case VaryingValuesFlow():
            return InvariantSides.of(bare, own.kernel_at(t))
        case WeightDecayFlow():
            return InvariantSides.of(bare, own.flow.kernel)
        case ClassFlow() | CrossEntropyFlow():
            return InvariantSides.of(bare, own.kernel)
    raise TypeError(f"no invariant is known for {type(own).__name__}")


def _invariant(flow: AbstractFlow[Any], t: Float[Array, ""], state: Any) -> Float[Array, "dims dims"] | None:
    own, bare = _unwrapped(flow, state)
    if isinstance(own, MatrixBlockFlow):
        return own.invariants(bare).get("E")
    sides = _sides(flow, t, state)
    return None if sides is None else sides.invariant


def _class_means(array: Float[Array, "rows samples"], sizes: tuple[int, ...]) -> Float[Array, "rows classes"]:
    edges = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
    blocks = [jnp.mean(array[:, a:b], axis=1) for a, b in itertools.pairwise(edges)]
    return jnp.stack(blocks, axis=1)


def _cosines(columns: Float[Array, "features classes"]) -> Float[Array, "classes classes"]:
    """Cosines between columns, their mean subtracted."""
    centred = columns - jnp.mean(columns, axis=1, keepdims=True)
    lengths = jnp.linalg.norm(centred, axis=0)
    return centred.T @ centred / (lengths[:, None] * lengths[None, :])
