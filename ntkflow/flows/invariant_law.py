"""Flows that do not conserve the invariant E but move it by a known law, and the account that checks the law."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractFlow
from ntkflow.flows.class_means import ClassFlow
from ntkflow.flows.states import ClassState, SampleState


class AbstractInvariantLawFlow(AbstractFlow[ClassState]):
    """A change of the class flow (25) under which E of (26) moves at a rate that the state alone determines."""

    flow: eqx.AbstractVar[ClassFlow]

    @abc.abstractmethod
    def invariant(self, t: Float[Array, ""], state: ClassState) -> Float[Array, "dims dims"]:
        """E at a time and a state."""

    @abc.abstractmethod
    def invariant_rate(self, t: Float[Array, ""], state: ClassState) -> Float[Array, "dims dims"]:
        """Ė along the flow, in closed form."""

    def residual(self, state: ClassState) -> Float[Array, "outputs samples"]:
        """R of every sample. Raises ``ValueError`` where single samples are not carried."""
        return self.flow.residual(state)

    def residual_norms(self, state: ClassState) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return self.flow.residual_norms(state)

    def invariants(self, state: ClassState) -> dict[str, Float[Array, "..."]]:
        """None: E moves."""
        return {}

    def class_state(self, state: ClassState) -> ClassState:
        """The state in feature space."""
        return self.flow.class_state(state)

    def sample_state(self, state: ClassState) -> SampleState:
        """H, W, b with every sample. Raises ``ValueError`` if they were given up."""
        return self.flow.sample_state(state)


class AccountedState(eqx.Module):
    """A state and ∫Ė dt since the start."""

    state: ClassState
    account: Float[Array, "dims dims"]

    @classmethod
    def opening(cls, state: ClassState) -> AccountedState:
        """The state with an empty account."""
        dims = state.weight.shape[1]
        return cls(state, jnp.zeros((dims, dims)))


class AccountedFlow(AbstractFlow[AccountedState]):
    """A flow integrated together with the rate of its E, so that E(t) − E(0) − account(t) = 0 can be checked.

    What is conserved is E(t) − account(t). How far it drifts is the error of the integration, if the law is right.

    Args:
        flow: the flow with its law.
    """

    flow: AbstractInvariantLawFlow
    loss_scale: Float[Array, ""]

    def __init__(self, flow: AbstractInvariantLawFlow) -> None:
        self.flow = flow
        self.loss_scale = flow.loss_scale

    @property
    def jump_times(self) -> Float[Array, " jumps"] | None:
        """Where the flow's equations have a kink or a jump."""
        return self.flow.jump_times

    def vector_field(self, t: Float[Array, ""], state: AccountedState, args: Any) -> AccountedState:
        """The flow's own, and Ė."""
        return AccountedState(self.flow.vector_field(t, state.state, args), self.flow.invariant_rate(t, state.state))

    def residual(self, state: AccountedState) -> Float[Array, "outputs samples"]:
        """R of every sample."""
        return self.flow.residual(state.state)

    def residual_norms(self, state: AccountedState) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return self.flow.residual_norms(state.state)

    def invariants(self, state: AccountedState) -> dict[str, Float[Array, "..."]]:
        """None at a state alone: E may depend on time."""
        return {}

    def loss(self, state: AccountedState) -> Float[Array, ""]:
        """The flow's own loss."""
        return self.flow.loss(state.state)

    def imbalance(self, t: Float[Array, ""], state: AccountedState) -> Float[Array, "dims dims"]:
        """E(t) − account(t), which stays at E(0)."""
        return self.flow.invariant(t, state.state) - state.account
