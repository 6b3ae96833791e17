"""From what a scenario says to what the rooms below take."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow import scenario as schema
from ntkflow.flows import Integration
from ntkflow.kernels import BlockKernel


def integration(solver: schema.Solver) -> Integration:
    """The solver's settings."""
    return Integration(method=solver.method, rtol=solver.rtol, atol=solver.atol, max_steps=solver.max_steps)


def block_kernel(values: schema.BlockValues, problem: schema.Classes) -> BlockKernel:
    """The block kernel of a problem."""
    return BlockKernel(
        values.diagonal,
        values.same_class,
        values.different_class,
        classes=problem.classes,
        per_class=problem.samples_per_class,
    )


def time_grid(grid: schema.TimeGrid) -> Float[Array, " times"]:
    """The saved times, from 0 to the end."""
    if grid.spacing == "linear":
        return jnp.linspace(0.0, grid.end, grid.points)
    first = grid.end / 1e4 if grid.first is None else grid.first
    if grid.points == 2:
        return jnp.asarray([0.0, grid.end])
    times = np.append(0.0, np.geomspace(first, grid.end, grid.points - 1))
    times[-1] = grid.end  # geomspace may round its own end.
    return jnp.asarray(times)


def named_key(seed: int, *names: str) -> PRNGKeyArray:
    """A key for each named purpose of a run, independent of how many others there are and of their order."""
    key = jax.random.key(seed)
    for name in names:
        for byte in name.encode():
            key = jax.random.fold_in(key, byte)
    return key
