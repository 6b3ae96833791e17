"""SciPy's DOP853 at the smallest tolerance that it takes, for NumPy equations and for the vector fields of flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flows.paper_equations import Arrays, Problem, right_hand_side
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from ntkflow.flows import AbstractFlow


def dop853(field: Callable[[np.ndarray], np.ndarray], start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The vectors at the given times, one a row."""
    solution = solve_ivp(
        lambda _, y: field(y), (times[0], times[-1]), start, method="DOP853", rtol=1e-13, atol=1e-15, t_eval=times
    )
    assert solution.success
    return solution.y.T


def reference(problem: Problem) -> list[Arrays]:
    """(19) as the paper prints it, at ``problem.times``."""
    shapes = [array.shape for array in problem.initial]
    cuts = np.cumsum([array.size for array in problem.initial])[:-1]

    def unpack(flat: np.ndarray) -> Arrays:
        return tuple(part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True))

    def field(flat: np.ndarray) -> np.ndarray:
        return np.concatenate([array.ravel() for array in right_hand_side(problem, unpack(flat))])

    start = np.concatenate([array.ravel() for array in problem.initial])
    return [unpack(row) for row in dop853(field, start, problem.times)]


def states_by_scipy(flow: AbstractFlow[Any], initial: Any, times: np.ndarray) -> list[Any]:
    """A flow's own vector field, integrated without Diffrax: what is left is the error of the equations."""
    start, unravel = ravel_pytree(initial)
    field = eqx.filter_jit(lambda flow, y: ravel_pytree(flow.vector_field(jnp.asarray(0.0), unravel(y), None))[0])
    rows = dop853(lambda y: np.asarray(field(flow, jnp.asarray(y))), np.asarray(start), times)
    return [jax.tree.map(jnp.asarray, unravel(jnp.asarray(row))) for row in rows]
