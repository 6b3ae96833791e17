"""Integrates a noisy flow along many paths: Heun's method on fixed steps, by Diffrax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ntkflow.errors import SolverError
from ntkflow.flows.abstract import State
from ntkflow.flows.noisy import AbstractNoisyFlow

_FINEST = 2.0**-24
"""The Brownian paths are resolved to this share of the time span, whatever the step. So a key means one path."""

_TOGETHER = 64
"""Paths integrated side by side: their states at all saved times are in memory at once."""

Observed = dict[str, Float[Array, "paths times ..."]]


class NoisyPaths(eqx.Module):
    """What was observed along each path, and its mean over the paths with a standard error.

    Attributes:
        times: the saved times.
        observed: by name, an axis over paths, one over times, and those of the quantity.
        steps: of Heun's method, for each path.
        step_size: the longest step.
    """

    times: Float[Array, " times"]
    observed: Observed
    steps: int = eqx.field(static=True)
    step_size: float = eqx.field(static=True)

    @property
    def paths(self) -> int:
        """How many."""
        return next(iter(self.observed.values())).shape[0]

    def mean(self, name: str) -> Float[Array, "times ..."]:
        """The mean over the paths."""
        return jnp.mean(self.observed[name], axis=0)

    def standard_error(self, name: str) -> Float[Array, "times ..."]:
        """The standard deviation over the paths (with P − 1) over √P; NaN for a single path."""
        values = self.observed[name]
        if self.paths == 1:
            return jnp.full(values.shape[1:], jnp.nan)
        return jnp.std(values, axis=0, ddof=1) / math.sqrt(self.paths)


def solve_paths(
    flow: AbstractNoisyFlow[State],
    initial: State,
    times: Float[Array, " times"],
    *,
    key: PRNGKeyArray,
    paths: int,
    step_size: float,
    observe: Callable[[State], dict[str, Float[Array, "..."]]] | None = None,
    as_many_steps: int = 0,
    name: str = "the noisy flow",
) -> NoisyPaths:
    """Integrate a noisy flow from one state along independent Brownian paths.

    Heun's method converges to Stratonovich's solution. Its strong order is 1 here, since the noise of the block values
    commutes, and its weak order is 1. Steps are fixed: each interval between saved times is cut into equal ones. The
    same key and span of time give the same Brownian paths for every step size, so that two step sizes can be compared
    path by path.

    Args:
        flow: the equations.
        initial: the state at ``times[0]``, the same for all paths.
        times: increasing, at least two; gradient-flow time of the flow's Z.
        key: source of the Brownian paths.
        paths: how many.
        step_size: the longest step.
        observe: what is kept of a state, by name; the residual's norms (``residual_norms``) unless told. A function
            that was met before is not compiled again.
        as_many_steps: go on past the last time until there are so many steps, for nothing but to share the compiled
            program of a run with shorter steps.
        name: what messages call this flow.

    Raises:
        ValueError: times that do not increase, no path, or a step that is not positive or too small to be resolved.
        SolverError: a path left the finite numbers.
    """
    if paths < 1:
        raise ValueError(f"{name}: at least one path is needed, not {paths}")
    grid = _step_grid(np.asarray(times, dtype=float), step_size, name)
    watch = flow.residual_norms if observe is None else observe
    beyond = np.arange(1, as_many_steps - grid.size + 2) * (grid[-1] - grid[-2])
    padded = jnp.asarray(np.append(grid, grid[-1] + beyond))
    brownian = _brownian_paths(jax.random.split(key, paths), jnp.minimum(padded, times[-1]))
    observed = integrate_paths(flow, initial, times, padded, brownian, watch)
    observed = {"residual_norms": observed} if observe is None else observed
    finite = np.ones((paths, times.size), dtype=bool)
    for values in observed.values():
        finite &= np.isfinite(np.asarray(values)).reshape(paths, times.size, -1).all(axis=-1)
    if not finite.all():
        lost = ~finite.all(axis=1)
        until = float(times[int(np.argmin(finite.all(axis=0)))])
        raise SolverError(
            f"{int(lost.sum())} of {paths} paths are no longer finite at t = {until:g}",
            place=name,
            remedy="Take a smaller step, or less noise.",
        )
    longest = float(np.diff(grid).max())
    return NoisyPaths(times=times, observed=observed, steps=grid.size - 1, step_size=longest)


@eqx.filter_jit
def integrate_paths(
    flow: AbstractNoisyFlow[Any],
    initial: Any,
    times: Float[Array, " times"],
    grid: Float[Array, " steps"],
    brownian: Float[Array, "paths steps 3"],
    observe: Callable[[Any], Any],
) -> Any:
    """The compiled part of :func:`solve_paths`, which never raises by itself. ``brownian``: at the ends of steps."""

    def one(path: Float[Array, "steps 3"]) -> Any:
        def diffusion(t: Any, state: Any, args: Any) -> lineax.FunctionLinearOperator:
            increments = jax.ShapeDtypeStruct((3,), grid.dtype)
            return lineax.FunctionLinearOperator(lambda increment: flow.noise(t, state, increment), increments)

        solution = diffrax.diffeqsolve(
            diffrax.MultiTerm(
                diffrax.ODETerm(flow.vector_field),  # pyright: ignore[reportArgumentType]
                diffrax.ControlTerm(diffusion, diffrax.LinearInterpolation(grid, path)),
            ),
            diffrax.Heun(),
            t0=grid[0],
            t1=grid[-1],
            dt0=None,
            y0=initial,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.StepTo(ts=grid),
            max_steps=grid.size,
            # Nothing is differentiated: the plain loop compiles faster.
            adjoint=diffrax.ForwardMode(),
            throw=False,
        )
        # Not inside the loop over steps, where side by side with other paths it would be done at every step.
        return jax.lax.map(observe, solution.ys)

    return jax.lax.map(one, brownian, batch_size=_TOGETHER)


def brownian_paths(key: PRNGKeyArray, paths: int, times: Float[Array, " times"]) -> Float[Array, "paths times 3"]:
    """The Brownian paths of κ_d, κ_c, κ_n that :func:`solve_paths` takes for the same key, number and span of time.

    They start at 0 at ``times[0]``, and the span ends at ``times[-1]``.
    """

    return _brownian_paths(jax.random.split(key, paths), times)


@jax.jit
def _brownian_paths(keys: Key[Array, " paths"], times: Float[Array, " times"]) -> Float[Array, "paths times 3"]:
    """One path for each key, 0 at the first time. All values at once: a walk down the tree for every step in turn would
    take longer than the equations do."""
    begin, end = times[0], times[-1]

    def at(key: PRNGKeyArray, time: Float[Array, ""]) -> Float[Array, "3"]:
        tree = diffrax.VirtualBrownianTree(begin, end, tol=(end - begin) * _FINEST, shape=(3,), key=key)
        return jnp.asarray(tree.evaluate(begin, time))

    return jax.vmap(jax.vmap(at, (None, 0)), (0, None))(keys, times)


def _step_grid(times: np.ndarray, step_size: float, name: str) -> np.ndarray:
    """All times at which a step ends, the saved ones among them."""
    if times.ndim != 1 or times.size < 2 or not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError(f"{name}: times must be at least two increasing numbers, all finite, not {times}")
    if not 0 < step_size < math.inf:
        raise ValueError(f"{name}: the step must be positive and finite, not {step_size}")
    pieces = np.maximum(1, np.ceil(np.diff(times) / step_size * (1 - 1e-12))).astype(int)
    inner = [np.linspace(a, b, n + 1)[:-1] for a, b, n in zip(times[:-1], times[1:], pieces, strict=True)]
    grid = np.append(np.concatenate(inner), times[-1])
    finest = float(np.diff(grid).min()) / float(grid[-1] - grid[0])
    if finest < 4 * _FINEST:
        raise ValueError(f"{name}: a step of {finest:.1g} of the whole time is too small for the Brownian paths")
    return grid
