"""Statistics of ``eqx.nn.BatchNorm``: those of a reference batch, and the averages in a network's state."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ntkflow.networks.statistics import Statistics, measure_statistics, normalize, over_positions

_AXIS = "ntkflow_reference"
Measured = tuple[Float[Array, " channels"], Float[Array, " channels"], Int[Array, ""], Int[Array, ""]]


def reference_statistics(model: Any, state: eqx.nn.State, reference: Float[Array, "samples ..."]) -> list[Statistics]:
    """Mean and biased variance of the reference at every BatchNorm, in the order of ``jax.tree.leaves``.

    Raises:
        ValueError: a layer that a pass does not use exactly once; a single value a channel.
    """
    measured_by_layer = measure(*measuring_network(model, state), reference)
    found = []
    for path, (mean, variance, values, calls) in zip(_paths(model), measured_by_layer, strict=True):
        if calls != 1:
            raise ValueError(
                f"{path}: a pass applies this BatchNorm {int(calls)} times, and one pair of statistics describes one"
                " place; give each place its own layer"
            )
        found.append(Statistics(mean, variance, values))
    return found


def measuring_network(model: Any, state: eqx.nn.State) -> tuple[Any, eqx.nn.State]:
    """The network whose every BatchNorm normalises by the batch and leaves its statistics in the state, and a state."""

    def stand_in(node: Any) -> Any:
        # A state is made from a model that holds the starting values; Equinox has taken them out, so they go back in.
        if isinstance(node, eqx.nn.StateIndex):
            return _starting(node, state.get(node))
        if not is_norm(node):
            return node
        mean, variance = state.get(_averages(node))
        none = jnp.zeros((), jnp.int32)
        start = (jnp.zeros_like(mean), jnp.ones_like(variance), none, none)
        index = _starting(_averages(node), start)
        # Pyright takes the abstract class variable __call__ of a StatefulLayer for a field.
        return _MeasuringNorm(weight=node.weight, bias=node.bias, index=index, eps=node.eps)  # pyright: ignore[reportCallIssue]

    measuring = jax.tree.map(stand_in, model, is_leaf=lambda node: is_norm(node) or isinstance(node, eqx.nn.StateIndex))
    return measuring, eqx.nn.State(measuring)


@eqx.filter_jit
def measure(model: Any, state: eqx.nn.State, reference: Float[Array, "samples ..."]) -> list[Measured]:
    """Mean, variance, number of values and number of passes of every BatchNorm on the reference batch."""

    def one_sample(x: Float[Array, "..."]) -> list[Measured]:
        after = model(x, state)[1]
        norms = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, _MeasuringNorm))
        return [after.get(norm.index) for norm in norms if isinstance(norm, _MeasuringNorm)]

    return jax.vmap(one_sample, out_axes=None, axis_name=_AXIS)(reference)


def running_statistics(model: Any, state: eqx.nn.State) -> list[Statistics]:
    """The averages of every BatchNorm, without what is left of their starting values, in the order of the leaves.

    Raises:
        ValueError: averages that no batch went into.
    """
    norms = [node for node in jax.tree.leaves(model, is_leaf=is_norm) if is_norm(node)]
    found = []
    for path, norm in zip(_paths(model), norms, strict=True):
        mean, variance = state.get(_averages(norm))
        never = state.get(norm.ema_first_time_index) if norm.mode == "ema" else state.get(norm.batch_counter) == 0
        if np.any(np.asarray(never)):
            raise ValueError(
                f"{path}: no batch went into its running averages yet; take statistics='reference' with a reference"
                " batch"
            )
        if norm.mode == "batch":
            # What the average started from, and the weight that this still has, ρᵗ.
            fresh = eqx.nn.BatchNorm(norm.input_size, norm.axis_name, dtype=mean.dtype, mode="batch")
            mean_0, variance_0 = eqx.nn.State(fresh).get(_averages(fresh))
            left = norm.momentum ** state.get(norm.batch_counter).astype(mean.dtype)
            mean = (mean - left * mean_0) / (1 - left)
            variance = jnp.maximum((variance - left * variance_0) / (1 - left), 0)
        # Equinox does not keep how many values a batch had.
        found.append(Statistics(mean, variance, 1))
    return found


def is_norm(node: Any) -> bool:
    """Whether a node of a network is Equinox's batch normalisation."""
    return isinstance(node, eqx.nn.BatchNorm)


def affine(
    weight: Float[Array, " channels"] | None,
    bias: Float[Array, " channels"] | None,
    normalized: Float[Array, "channels *positions"],
) -> Float[Array, "channels *positions"]:
    """weight · normalized + bias, where the layer has them (``channelwise_affine``)."""
    if weight is None or bias is None:
        return normalized
    return over_positions(weight, normalized) * normalized + over_positions(bias, normalized)


class _MeasuringNorm(eqx.nn.StatefulLayer):
    """Normalises by the batch, and leaves in the state what it measured and how often."""

    weight: Float[Array, " channels"] | None
    bias: Float[Array, " channels"] | None
    index: eqx.nn.StateIndex
    eps: float = eqx.field(static=True)

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, x: Float[Array, "channels *positions"], state: eqx.nn.State, *, key: Any = None, inference: Any = None
    ) -> tuple[Float[Array, "channels *positions"], eqx.nn.State]:
        del key, inference
        mean, variance, values = measure_statistics(x, _AXIS)
        old_mean, old_variance, _, calls = state.get(self.index)
        measured = (mean.astype(old_mean.dtype), variance.astype(old_variance.dtype), jnp.asarray(values, jnp.int32))
        y = affine(self.weight, self.bias, normalize(x, mean, variance, self.eps))
        return y, state.set(self.index, (*measured, calls + 1))


def _paths(model: Any) -> list[str]:
    nodes = jax.tree_util.tree_leaves_with_path(model, is_leaf=is_norm)
    return [jax.tree_util.keystr(path).removeprefix(".") or "the network" for path, node in nodes if is_norm(node)]


def _averages(norm: eqx.nn.BatchNorm) -> eqx.nn.StateIndex:
    index = norm.ema_state_index if norm.mode == "ema" else norm.batch_state_index
    assert index is not None
    return index


def _starting(index: eqx.nn.StateIndex, value: PyTree) -> eqx.nn.StateIndex:
    return eqx.tree_at(lambda index: index.init, index, value)
