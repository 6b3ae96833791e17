"""From a case of a `relaxation` scenario to its flow and to the common initial state in that flow's coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow import scenario as schema
from ntkflow.experiments.settings import block_kernel
from ntkflow.flows import (
    AbstractFlow,
    AccountedFlow,
    AccountedState,
    ClassFlow,
    ClassState,
    ClassValuesFlow,
    CorrelatedNoiseFlow,
    CrossEntropyFlow,
    MatrixBlockFlow,
    NoisyFlow,
    OffsetState,
    SampleState,
    UnequalClassFlow,
    VaryingValuesFlow,
    WeightDecayFlow,
    within_basis,
)
from ntkflow.kernels import BlockKernel, ClassBlockKernel, MatrixBlockKernel


def relaxed_flow(
    model: schema.RelaxedModel, state: SampleState, kernel: BlockKernel, loss_scale: float, key: PRNGKeyArray
) -> tuple[AbstractFlow[Any], Any]:
    """The flow of a case, and the state it starts from.

    Flows that move the invariant by a law come with their account (:class:`ntkflow.flows.AccountedFlow`).

    Args:
        model: what is relaxed.
        state: H, W, b, the same for all cases.
        kernel: Θʰ where the model has no values of its own.
        loss_scale: Z.
        key: for the random matrices of ``matrix_blocks``.
    """
    match model:
        case schema.BlockModel():
            return ClassFlow.starting_at(state, kernel, loss_scale=loss_scale)
        case schema.UnequalClassesModel(sizes=sizes):
            values = kernel.diagonal, kernel.same_class, kernel.different_class
            flow = UnequalClassFlow(*values, sizes=sizes, loss_scale=loss_scale)
            return flow, flow.initial(resized(state, kernel.per_class, sizes))
        case schema.ClassValuesModel():
            same = jnp.diag(jnp.asarray(model.same_class) - model.different_class)
            pairs = same + model.different_class
            sizes = (kernel.per_class,) * kernel.classes
            by_class = ClassBlockKernel(jnp.asarray(model.diagonal), pairs, sizes=sizes)
            flow = ClassValuesFlow(by_class, loss_scale=loss_scale)
            return flow, flow.initial(state)
        case schema.MatrixBlocksModel():
            matrices = _matrix_blocks(model, kernel, state.weight.shape[1], key)
            return MatrixBlockFlow.starting_at(state, matrices, loss_scale=loss_scale)
        case schema.CrossEntropyModel():
            return CrossEntropyFlow(kernel, loss_scale=loss_scale), state
        case schema.WeightDecayModel():
            base, inside = ClassFlow.starting_at(state, kernel, loss_scale=loss_scale)
            flow = WeightDecayFlow(base, weight=model.weight, bias=model.bias, features=model.features)
            return AccountedFlow(flow), AccountedState.opening(inside)
        case schema.VaryingValuesModel():
            base, inside = ClassFlow.starting_at(state, kernel, loss_scale=loss_scale)
            sizes = schema.Classes(classes=kernel.classes, samples_per_class=kernel.per_class)
            flow = VaryingValuesFlow(
                jnp.asarray([snapshot.time for snapshot in model.snapshots]),
                [block_kernel(snapshot, sizes) for snapshot in model.snapshots],
                loss_scale=loss_scale,
                frame=base.frame,
                interpolation=model.interpolation,
            )
            return AccountedFlow(flow), AccountedState.opening(inside)
        case schema.NoisyModel():
            base, inside = ClassFlow.starting_at(state, kernel, loss_scale=loss_scale)
            noise = model.noise.diagonal, model.noise.same_class, model.noise.different_class
            if model.correlation_time is None:
                return NoisyFlow(base, noise), inside
            flow = CorrelatedNoiseFlow(base, noise, correlation_time=model.correlation_time)
            return flow, OffsetState.at_mean(inside)


def resized(state: SampleState, per_class: int, sizes: Sequence[int]) -> SampleState:
    """A state with other class sizes: W, b and the class means stay, and the covariance of every class.

    A class of m_c samples has a covariance of rank m_c − 1 at most. Where that is too little, the directions of
    smallest variance are dropped and the others scaled to the same trace.
    """
    classes = len(sizes)
    blocks = []
    for index, size in enumerate(sizes):
        block = state.features[:, index * per_class : (index + 1) * per_class]
        mean = jnp.mean(block, axis=1, keepdims=True)
        directions, singular, _ = jnp.linalg.svd((block - mean) / jnp.sqrt(per_class), full_matrices=False)
        kept = min(size - 1, per_class - 1, singular.size)
        total, left = jnp.sum(singular**2), jnp.sum(singular[:kept] ** 2)
        scale = jnp.sqrt(size * total / jnp.where(left > 0, left, 1.0))
        blocks.append(mean + directions[:, :kept] * (scale * singular[:kept]) @ within_basis(size)[:kept])
    assert len(blocks) == classes
    return SampleState(jnp.concatenate(blocks, axis=1), state.weight, state.bias)


def one_size(state: SampleState, sizes: Sequence[int]) -> SampleState:
    """A state of classes of one size with the same means and covariances, each class counting alike: what metrics that
    are defined for balanced classes are taken of. The state itself where the sizes are equal."""
    size = max(sizes)
    if min(sizes) == size:
        return state
    means, within, start = [], [], 0
    for count in sizes:
        block = state.features[:, start : start + count]
        means.append(jnp.mean(block, axis=1))
        columns = block @ within_basis(count).T / jnp.sqrt(count)
        within.append(jnp.pad(columns, ((0, 0), (0, size - count))))
        start += count
    split = ClassState(jnp.stack(means, axis=1), jnp.concatenate(within, axis=1), state.weight, state.bias)
    return split.to_sample()


def _matrix_blocks(
    model: schema.MatrixBlocksModel, kernel: BlockKernel, features: int, key: PRNGKeyArray
) -> MatrixBlockKernel:
    keys = [key] * 3 if model.shared else list(jax.random.split(key, 3))
    own, same, everywhere = (_random_matrix(one, features, model.spread) for one in keys)
    return MatrixBlockKernel(
        kernel.lambda_single * own,
        (kernel.same_class - kernel.different_class) * same,
        kernel.different_class * everywhere,
        classes=kernel.classes,
        per_class=kernel.per_class,
    )


def _random_matrix(key: PRNGKeyArray, size: int, spread: float) -> Float[Array, "size size"]:
    """Eigenvalues evenly spaced in their logarithm over a ratio of ``spread``, with mean 1; random eigenvectors."""
    values = jnp.exp(jnp.linspace(0.0, jnp.log(spread), size))
    vectors = jnp.linalg.qr(jax.random.normal(key, (size, size)))[0]
    matrix = (vectors * (values / jnp.mean(values))) @ vectors.T
    return (matrix + matrix.T) / 2
