"""Thousands of trajectories in one call: many initial states or kernels of one flow, in chunks that fit into memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ntkflow.errors import SolverError, UserError
from ntkflow.flows.abstract import AbstractFlow
from ntkflow.flows.choice import settle
from ntkflow.flows.method import Integration
from ntkflow.flows.solve import checked_times, integrate, succeeded
from ntkflow.progress import Progress, silent

Observed = TypeVar("Observed")

_WORKING_COPIES = 24
"""Arrays of the size of a state that a solver holds at once: stages, interpolation, error estimate, old and new."""
_SHARE = 0.5
"""Of the memory that is free, how much a chunk may take."""


class Ensemble(eqx.Module, Generic[Observed]):
    """What was observed on every member, and which of them the solver gave up on.

    Attributes:
        times: the saved times, gradient-flow time of the flows' loss scale.
        observed: arrays (members, times, …), on the host; NaN for a member that failed, from where it failed on.
        steps: steps that each member took.
        failed: members that the solver gave up on, and those whose state or equations are not finite at the start.
        chunk: members integrated by one program at once.
        integration: how.
        choices: which method was chosen and why, where the choice was left to :func:`solve_ensemble`.
    """

    times: Float[Array, " times"]
    observed: Observed
    steps: Int[np.ndarray, " members"]
    failed: Bool[np.ndarray, " members"]
    chunk: int = eqx.field(static=True)
    integration: Integration
    choices: tuple[str, ...] = eqx.field(static=True, default=())

    @property
    def members(self) -> int:
        """How many."""
        return self.failed.size

    def __str__(self) -> str:
        return (
            f"Ensemble of {self.members} trajectories, {self.times.size} times in [{float(self.times[0]):g}, "
            f"{float(self.times[-1]):g}], {self.chunk} at once\n"
            f"  {self.integration.method}, rtol {self.integration.rtol:g}, atol {self.integration.atol:g}: "
            f"{int(np.median(self.steps))} steps (median), at most {int(np.max(self.steps))}; "
            f"{int(np.sum(self.failed))} failed" + "".join(f"\n  {choice}" for choice in self.choices)
        )


def solve_ensemble(
    make: Callable[[Any], tuple[AbstractFlow[Any], Any]],
    members: PyTree[Array],
    times: Float[Array, " times"],
    integration: Integration,
    *,
    observe: Callable[[AbstractFlow[Any], Any], Observed],
    chunk: int | None = None,
    memory: int | None = None,
    name: str = "the ensemble",
    progress: Progress = silent,
) -> Ensemble[Observed]:
    """Integrate one flow for every member, ``chunk`` of them at once by ``vmap``.

    Initial states are made inside the compiled program, from a random key say, so that only a chunk of them exists
    at a time. A chunk goes on until its slowest member is through.

    Args:
        make: one member to its flow and initial state; traceable by JAX.
        members: what tells the members apart, arrays with a leading axis of one length.
        times: when to observe, as for :func:`ntkflow.flows.solve`.
        integration: method and tolerances, the same for all; ``auto`` looks at the first member with finite numbers.
        observe: what to keep of a state; arrays.
        chunk: how many at once; unless told 64 on a CPU and 4 096 elsewhere, or as many as fit.
        memory: bytes that may be used; half of what is free unless told.
        name: what messages call this ensemble.
        progress: told after each chunk, from where Ctrl-C is possible.

    Raises:
        ValueError: no members, members of different numbers, a chunk below 1, or times that do not increase.
        UserError: the chunk asked for, or the result, needs more memory than there is; says what would fit.
        SolverError: the solver gave up on every member.
    """
    times = checked_times(times, name)
    count = _count(members, name)
    if chunk is not None and chunk < 1:
        raise ValueError(f"{name}: a chunk is at least one member, not {chunk}")
    choices: tuple[str, ...] = ()
    if integration.method == "auto":
        # Compiled, so that a member for which making raises outside of it is marked here as it is below.
        made = map(eqx.filter_jit(make), (_member(members, index) for index in range(count)))
        flow, initial = next((pair for pair in made if _finite(pair)), (None, None))
        if flow is None:
            raise _none_left(f"none of the {count} members starts from finite numbers", name)
        integration, choices = settle(integration, flow, initial, times)

    def one(member: Any) -> tuple[Observed, Int[Array, ""], Bool[Array, ""]]:
        flow, initial = make(member)
        # What is not finite would use up all steps, and the others of its chunk would wait for it.
        moving = _finite((flow, initial))
        initial = jax.tree.map(lambda leaf: jnp.where(moving, leaf, 0), initial)
        # Observed while it is integrated: under vmap every step passes over all that is saved.
        solution = integrate(flow, initial, times, integration, lambda state: observe(flow, state), moving)
        observed = jax.tree.map(lambda leaf: jnp.where(moving, leaf, jnp.nan), solution.ys)
        return cast(Observed, observed), solution.stats["num_steps"], succeeded(solution) & moving

    on_cpu = jax.devices()[0].platform == "cpu"
    needs = _Needs.of(make, one, _member(members, 0), count)
    # On a CPU larger batches leave the cache and gain nothing.
    chunk = needs.chunk(chunk, 64 if on_cpu else 4096, free_memory() if memory is None else memory, name)
    together = eqx.filter_jit(eqx.filter_vmap(one))

    kept: Any = None
    for start in range(0, count, chunk):
        progress("integrating", start, count)
        # The last chunk is filled up with its own first member, for the sake of one compilation.
        index = np.arange(start, start + chunk)
        index = np.where(index < count, index, start)
        part = together(jax.tree.map(lambda leaf, i=index: leaf[i], members))
        if kept is None:
            kept = jax.tree.map(lambda leaf: np.empty((count, *leaf.shape[1:]), leaf.dtype), part)
        # Into their place at once, so that the result is never there twice.
        for whole, new in zip(jax.tree.leaves(kept), jax.tree.leaves(part), strict=True):
            whole[start : start + chunk] = np.asarray(new)[: count - start]
    progress("integrating", count, count)
    observed, steps, good = kept
    if not good.any():
        raise _none_left(f"{integration.method} gave up on all {count} members", name)
    for leaf in jax.tree.leaves(observed):
        # Diffrax leaves the times that it did not reach at infinity.
        leaf[~good] = np.where(np.isfinite(leaf[~good]), leaf[~good], np.nan)
    return Ensemble(times, observed, steps, ~good, chunk, integration, choices)


def _member(members: PyTree[Array], index: int) -> PyTree[Array]:
    return jax.tree.map(lambda leaf: leaf[index], members)


def _count(members: PyTree[Array], name: str) -> int:
    counts = sorted({leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(members)})
    # An index beyond the end of a shorter array would silently give its last entry again.
    if len(counts) > 1:
        raise ValueError(f"{name}: the members' arrays have different lengths, {' and '.join(map(str, counts))}")
    if not counts or counts[0] == 0:
        raise ValueError(f"{name} has no members")
    return counts[0]


def _finite(tree: Any) -> Bool[Array, ""]:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def _none_left(what: str, name: str) -> SolverError:
    return SolverError(
        what,
        place=name,
        remedy="Look at the members' numbers, raise solver.max_steps, loosen solver.rtol and solver.atol, or use "
        "solver.method: rkc2.",
    )


def free_memory() -> int:
    """Half of the bytes that are free: of the accelerator where there is one, else of this machine."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(_SHARE * (statistics["bytes_limit"] - statistics["bytes_in_use"]))
    return int(_SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@dataclass(frozen=True)
class _Needs:
    """Bytes: of all that is kept in the end, and for integrating one member."""

    members: int
    result: int
    member: int

    @classmethod
    def of(cls, make: Callable[[Any], Any], one: Callable[[Any], Any], first: Any, members: int) -> _Needs:
        """From the shapes alone."""
        made, kept = eqx.filter_eval_shape(make, first), _bytes(eqx.filter_eval_shape(one, first))
        return cls(members, members * kept, _bytes(made) + _WORKING_COPIES * _bytes(made[1]) + 2 * kept)

    def chunk(self, wanted: int | None, usual: int, memory: int, name: str) -> int:
        """How many members at once."""
        fits = (memory - self.result) // self.member
        if fits < 1:
            raise UserError(
                f"{self.members} members need {_size(self.result + self.member)} of memory, but {_size(memory)} can be "
                "used",
                place=name,
                remedy="Save fewer times, ask for fewer members, or observe less of each state.",
            )
        if wanted is not None and min(wanted, self.members) > fits:
            raise UserError(
                f"{wanted} members at once need {_size(self.result + wanted * self.member)} of memory, but "
                f"{_size(memory)} can be used",
                place=name,
                remedy=f"A chunk of {fits} fits.",
            )
        return min(self.members, fits, usual if wanted is None else wanted)


def _bytes(tree: PyTree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


def _size(number: int) -> str:
    return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.3g} MiB"
