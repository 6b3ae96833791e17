"""One step of mini-batch training: what is trained on, by which loss, by which optimiser."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ntkflow.data import Dataset
from ntkflow.data.batches import balanced_epoch
from ntkflow.networks import AbstractBatchClassifier, AbstractClassifier, running_average
from ntkflow.training.objective import AbstractObjective
from ntkflow.training.optimizer import AbstractOptimizer
from ntkflow.training.state import TrainingState


class StepValues(NamedTuple):
    """What a step measures on its batch, by the parameters before it.

    Attributes:
        loss: the objective's value.
        accuracy: share of the batch whose largest logit is that of its class; of a network with batch normalisation
            by the batch's own statistics.
        gradient_norm: Euclidean norm of the loss's gradient, weight decay not included, where it was asked for;
            otherwise 0.
    """

    loss: Float[Array, "*members"]
    accuracy: Float[Array, "*members"]
    gradient_norm: Float[Array, "*members"]


class Recipe(eqx.Module):
    """Data on the device, objective, optimiser, batches: everything of a run but its state and its step sizes.

    Every batch has exactly ``batch_per_class`` samples of each class, sorted by class
    (:func:`ntkflow.data.batches.balanced_epoch`); what is left over in an epoch is dropped from it. With
    ``batch_per_class`` equal to the samples of a class, training is full-batch: an epoch is one step, samples keep
    their order, and nothing is random.

    Args:
        inputs: N = C·m samples sorted by class, in the network's dtype.
        targets: column c is the target of class c, in the network's dtype.
        objective: the loss of a batch.
        optimizer: the direction of a step.
        batch_per_class: samples of each class in a batch, 1 … m.
        statistics_momentum: weight ρ of a new batch in the running statistics.
        batch_sharding: how a batch is split over devices, :func:`ntkflow.training.split_batches`; None: it is not.

    Raises:
        ValueError: more samples of a class in a batch than there are, or samples that are not as many of each class.
    """

    inputs: Float[Array, "samples ..."]
    targets: Float[Array, "outputs classes"]
    objective: AbstractObjective
    optimizer: AbstractOptimizer
    batch_per_class: int = eqx.field(static=True)
    statistics_momentum: float = eqx.field(static=True, default=0.1)
    batch_sharding: NamedSharding | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.inputs.shape[0] % self.classes:
            raise ValueError(
                f"Recipe: {self.inputs.shape[0]} samples are not as many of each of {self.classes} classes"
            )
        if not 1 <= self.batch_per_class <= self.per_class:
            raise ValueError(
                f"Recipe: batch_per_class must be 1 … {self.per_class}, the samples of a class, not"
                f" {self.batch_per_class}"
            )

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        objective: AbstractObjective,
        optimizer: AbstractOptimizer,
        batch_per_class: int,
        dtype: DTypeLike | None = None,
    ) -> Recipe:
        """A recipe for a data set's training samples, cast to the network's ``dtype`` (None: as they are)."""
        inputs, targets = (array.astype(dtype or array.dtype) for array in (dataset.inputs, dataset.targets))
        return cls(inputs, targets, objective, optimizer, batch_per_class)

    @property
    def classes(self) -> int:
        """C."""
        return self.targets.shape[1]

    @property
    def per_class(self) -> int:
        """m."""
        return self.inputs.shape[0] // self.classes

    @property
    def batch_size(self) -> int:
        """|B|."""
        return self.classes * self.batch_per_class

    @property
    def steps_per_epoch(self) -> int:
        """⌊m/batch_per_class⌋."""
        return self.per_class // self.batch_per_class

    @property
    def full_batch(self) -> bool:
        """Whether every step sees every sample."""
        return self.batch_per_class == self.per_class

    def start(self, network: AbstractClassifier, key: PRNGKeyArray) -> TrainingState:
        """The state before the first step. The network is copied: training does not consume the caller's.

        Raises:
            ValueError: parameters in another dtype than the inputs.
        """
        parameters = eqx.filter(network, eqx.is_inexact_array)
        other = {leaf.dtype for leaf in jax.tree.leaves(parameters)} - {self.inputs.dtype}
        if other:
            raise ValueError(
                f"Recipe: inputs are {self.inputs.dtype}, but the network has parameters in {other.pop()}; cast one"
            )
        # A zero for each array, because donated buffers must not be shared.
        state = TrainingState(
            network,
            self.optimizer.transformation().init(parameters),
            jnp.zeros((), jnp.int32),
            jnp.zeros((), jnp.int32),
            key,
        )
        return copy_state(state)

    def order(self, state: TrainingState) -> Int[Array, "batches batch"] | None:
        """The batches of the epoch that the state is in; None for the full batch."""
        if self.full_batch:
            return None
        key = jax.random.fold_in(state.key, state.epoch)
        return balanced_epoch(key, self.classes, self.per_class, self.batch_per_class)

    def step(
        self,
        state: TrainingState,
        order: Int[Array, "batches batch"] | None,
        step_size: Float[Array, ""],
        measure: bool | Bool[Array, ""] = True,
    ) -> tuple[TrainingState, StepValues]:
        """One step, to be compiled; pure.

        Args:
            state: before the step.
            order: :meth:`order` of the state.
            step_size: η; may be traced.
            measure: whether the norm of the gradient is wanted, which costs a pass over the parameters.
        """
        inputs, labels = self._batch(state, order)
        parameters, rest = eqx.partition(state.network, eqx.is_inexact_array)

        def loss(parameters: Any) -> tuple[Float[Array, ""], tuple[Float[Array, "outputs batch"], AbstractClassifier]]:
            logits, measured = training_logits(eqx.combine(parameters, rest), inputs)
            share = self.batch_size / self.inputs.shape[0]
            return self.objective.value(logits, labels, self.targets, share), (logits, measured)

        (value, (logits, measured)), gradient = jax.value_and_grad(loss, has_aux=True)(parameters)
        direction, optimizer_state = self.optimizer.transformation().update(gradient, state.optimizer_state, parameters)
        parameters = jax.tree.map(lambda p, u: p - step_size.astype(p.dtype) * u, parameters, direction)
        network = eqx.combine(parameters, rest)
        if isinstance(network, AbstractBatchClassifier) and isinstance(measured, AbstractBatchClassifier):
            network = running_average(network, measured, self.statistics_momentum)
        step = state.step + 1
        norm = jax.lax.cond(measure, _norm, lambda _: jnp.zeros((), value.dtype), gradient)
        # The mean of booleans would be in float32 whatever the network is in.
        right = jnp.mean(jax.lax.argmax(logits, 0, labels.dtype) == labels, dtype=value.dtype)
        moved = TrainingState(network, optimizer_state, step // self.steps_per_epoch, step, state.key)
        return moved, StepValues(value, right, norm)

    def _batch(
        self, state: TrainingState, order: Int[Array, "batches batch"] | None
    ) -> tuple[Float[Array, "batch ..."], Int[Array, " batch"]]:
        if order is None:
            inputs, batch = self.inputs, jnp.arange(self.inputs.shape[0], dtype=jnp.int32)
        else:
            batch = order[state.step % self.steps_per_epoch]
            inputs = self.inputs.at[batch].get(mode="promise_in_bounds", unique_indices=True)
        labels = batch // self.per_class
        if self.batch_sharding is not None:
            inputs, labels = jax.lax.with_sharding_constraint((inputs, labels), self.batch_sharding)
        return inputs, labels


def training_logits(
    network: AbstractClassifier, inputs: Float[Array, "batch ..."]
) -> tuple[Float[Array, "outputs batch"], AbstractClassifier]:
    """Logits as training sees them, and the network with the statistics of its normalisations that were used.

    A network with batch normalisation normalises by the batch's own statistics, and derivatives pass through them.
    """
    if isinstance(network, AbstractBatchClassifier):
        features, measured = network.batch_features(inputs)
        return network.readout.weight @ features + network.readout.bias[:, None], measured
    return network.logit_matrix(inputs), network


def copy_state(state: TrainingState) -> TrainingState:
    """The same state in buffers of its own, to keep while the other is trained further."""
    return jax.tree.map(lambda leaf: jnp.copy(leaf) if eqx.is_array(leaf) else leaf, state)


def _norm(gradient: Any) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
