"""What every system of equations here offers to `solve`, to tests and to experiments."""

from __future__ import annotations

import abc
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.states import ClassState, SampleState
from ntkflow.kernels import BlockKernel

State = TypeVar("State")


class AbstractFlow(eqx.Module, Generic[State]):
    """A gradient flow of a loss with the scale 1/Z. Time is gradient-flow time of that loss, so every final class
    carries its Z."""

    loss_scale: eqx.AbstractVar[Float[Array, ""]]

    @property
    def jump_times(self) -> Float[Array, " jumps"] | None:
        """Times at which the vector field has a kink, where an integration has to step; ``None`` where it has none."""
        return None

    @abc.abstractmethod
    def vector_field(self, t: Float[Array, ""], state: State, args: Any) -> State:
        """The time derivative of the state."""

    @abc.abstractmethod
    def residual(self, state: State) -> Float[Array, "outputs samples"]:
        """R, the derivative of Z times the loss with respect to the outputs, at a state; f(X) − Y for squared error."""

    @abc.abstractmethod
    def residual_norms(self, state: State) -> Float[Array, "3"]:
        """Frobenius norms of R's parts: global mean, class means, within class
        (:data:`ntkflow.kernels.EIGENSPACES`)."""

    @abc.abstractmethod
    def invariants(self, state: State) -> dict[str, Float[Array, "..."]]:
        """The quantities that this flow conserves, by name; empty where none is known."""

    @abc.abstractmethod
    def loss(self, state: State) -> Float[Array, ""]:
        """The loss whose gradient flow this is, the factor 1/Z included."""


class AbstractSquaredErrorFlow(AbstractFlow[State]):
    """A gradient flow of ‖R‖²_F/(2Z) with R = f(X) − Y."""

    def loss(self, state: State) -> Float[Array, ""]:
        """‖R‖²_F/(2Z)."""
        return jnp.sum(self.residual_norms(state) ** 2) / (2 * self.loss_scale)


class AbstractBlockFlow(AbstractSquaredErrorFlow[State]):
    """The flow of (H, W, b) under a block-structured Θʰ (paper 3, (19)), in whatever coordinates its state has."""

    kernel: eqx.AbstractVar[BlockKernel]
    targets: eqx.AbstractVar[Float[Array, "outputs classes"]]

    @abc.abstractmethod
    def class_state(self, state: State) -> ClassState:
        """H₁, W, b in feature space, and a factor of the within-class scatter S as ``within``."""

    @abc.abstractmethod
    def sample_state(self, state: State) -> SampleState:
        """H, W, b with every sample. Raises ``ValueError`` where single samples are not carried."""

    def residual(self, state: State) -> Float[Array, "outputs samples"]:
        """R = WH + b1ᵀ − Y of every sample. Raises ``ValueError`` where single samples are not carried."""
        sample = self.sample_state(state)
        targets = jnp.repeat(self.targets, self.kernel.per_class, axis=1)
        return sample.weight @ sample.features + sample.bias[:, None] - targets

    def norms_of(self, class_residual: Float[Array, "outputs classes"], within: Float[Array, ""]) -> Float[Array, "3"]:
        """Norms of the three parts of R from its class means R₁ and from ‖WH₂‖²."""
        m, classes = self.kernel.per_class, self.kernel.classes
        mean = jnp.mean(class_residual, axis=1, keepdims=True)
        squares = [m * classes * jnp.sum(mean**2), m * jnp.sum((class_residual - mean) ** 2), m * within]
        return jnp.sqrt(jnp.stack(squares))
