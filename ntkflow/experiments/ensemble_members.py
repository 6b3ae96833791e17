"""The members of an ensemble of block flows: which values each has, and how its flow is made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from ntkflow import scenario as schema
from ntkflow.errors import ScenarioError
from ntkflow.experiments.flow_states import made_state, refuse_without_invariant
from ntkflow.experiments.settings import named_key
from ntkflow.flows import InvariantFlow, InvariantState
from ntkflow.kernels import BlockKernel

Member = tuple[PRNGKeyArray, Mapping[str, Float[Array, ""]]]
"""The key of the random initial state, and the values that vary, by their keys in the scenario."""

_KERNEL = ("diagonal", "same_class", "different_class")


@dataclass(frozen=True)
class Members:
    """All members, a combination's repeats one after the other.

    Attributes:
        combination: index of the combination of listed values of each member.
        repeat: index of the random numbers; members with the same one share them.
        values: every varied value of each member, by its key in the scenario.
        keys: of the random initial states.
    """

    combination: Int[np.ndarray, " members"]
    repeat: Int[np.ndarray, " members"]
    values: dict[str, Float[np.ndarray, " members"]]
    keys: Key[Array, " members"]

    @property
    def tree(self) -> tuple[Key[Array, " members"], dict[str, Float[Array, " members"]]]:
        """As :func:`ntkflow.flows.solve_ensemble` takes them."""
        return self.keys, {name: jnp.asarray(values) for name, values in self.values.items()}


def ensemble_members(ensemble: schema.FlowEnsemble, seed: int) -> Members:
    """The members of an ensemble; every repeat has its own random numbers, whatever else there is."""
    combinations = list(ensemble.combinations())
    combination = np.repeat(np.arange(len(combinations)), ensemble.repeats)
    repeat = np.tile(np.arange(ensemble.repeats), len(combinations))
    values = {
        item.key: np.asarray([chosen[item.key] for chosen in combinations], dtype=float)[combination]
        for item in ensemble.listed
    }
    values |= {item.key: _drawn(item, ensemble.repeats, seed)[repeat] for item in ensemble.drawn}
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    keys = fold(named_key(seed, "initial state", "ensemble"), jnp.asarray(repeat))
    return Members(combination, repeat, values, keys)


def refuse_members(scenario: schema.FlowScenario, members: Members) -> None:
    """Raise ``ScenarioError`` for the first member whose kernel violates the order, or has no invariant.

    Every kernel is looked at before anything is integrated.
    """
    own = scenario.kernel.model_dump()
    count = members.repeat.size
    d, c, n = (np.broadcast_to(members.values.get(f"kernel.{name}", np.asarray(own[name])), count) for name in _KERNEL)
    wrong = np.flatnonzero(~((d > c) & (c > n) & (n >= 0)))
    if wrong.size:
        values = {name: float(drawn[wrong[0]]) for name, drawn in members.values.items()}
        try:
            schema.refuse_disordered_values(scenario.kernel, values)
        except ValueError as error:
            raise ScenarioError(
                str(error),
                place=f"ensemble, member {wrong[0]}",
                remedy="Change the ranges in ensemble.vary so that no draw violates the order.",
            ) from error
    # Those in which an eigenvalue is nearest to 0, or to infinity.
    for index in {int(np.argmin(d - c)), int(np.argmax(d))}:
        values = {name: jnp.asarray(drawn[index]) for name, drawn in members.values.items()}
        refuse_without_invariant(_kernel(scenario, values), f"ensemble, member {index}")


def member_flow(
    scenario: schema.FlowScenario, ensemble: schema.FlowEnsemble, loss_scale: float
) -> Callable[[Member], tuple[InvariantFlow, InvariantState]]:
    """What makes the reduced flow and the initial state of a member; traceable by JAX."""

    def make(member: Member) -> tuple[InvariantFlow, InvariantState]:
        key, values = member
        kernel = _kernel(scenario, values)
        own = {name.removeprefix("initial."): value for name, value in values.items() if name.startswith("initial.")}
        state = made_state(key, ensemble.initial, kernel, scenario.problem.features, own)
        return InvariantFlow.starting_at(state, kernel, loss_scale=loss_scale, all_directions=True)

    return make


def _kernel(scenario: schema.FlowScenario, values: Mapping[str, Float[Array, ""]]) -> BlockKernel:
    own = scenario.kernel.model_dump()
    d, c, n = (values.get(f"kernel.{name}", own[name]) for name in _KERNEL)
    return BlockKernel(d, c, n, classes=scenario.problem.classes, per_class=scenario.problem.samples_per_class)


def _drawn(item: schema.Variation, repeats: int, seed: int) -> Float[np.ndarray, " repeats"]:
    assert item.low is not None
    assert item.high is not None
    low, high = (np.log(item.low), np.log(item.high)) if item.draw == "log_uniform" else (item.low, item.high)
    uniform = np.asarray(jax.random.uniform(named_key(seed, "drawn", item.key), (repeats,), dtype=float))
    values = low + (high - low) * uniform
    return np.exp(values) if item.draw == "log_uniform" else values
