"""Equation (19) of paper 3 and its invariant (26) in plain NumPy, written from the paper; random problems for them."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from ntkflow.flows import SampleState
from ntkflow.kernels import BlockKernel

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """Block values κ, targets, Z and an initial state: all of them NumPy."""

    kappa: tuple[float, float, float]
    per_class: int
    targets: np.ndarray
    loss_scale: float
    initial: Arrays
    end: float = field(default=1.0)

    @property
    def classes(self) -> int:
        return self.targets.shape[1]

    @property
    def kernel(self) -> BlockKernel:
        return BlockKernel(*self.kappa, classes=self.classes, per_class=self.per_class)

    @property
    def state(self) -> SampleState:
        return SampleState(*map(jnp.asarray, self.initial))

    @property
    def times(self) -> np.ndarray:
        return np.linspace(0, self.end, 5)


def random_problem(seed: int, *, classes: int, per_class: int, features: int, outputs: int) -> Problem:
    """Eigenvalues, targets, Z and state at random; the time is some e-folds of the slower parts."""
    generator = np.random.default_rng(seed)
    single, between, across = generator.uniform([0.2, 0.2, 0.0], [2.0, 2.0, 1.0])
    kappa = (single + between + across, between + across, across)
    samples = classes * per_class
    targets = np.eye(classes) if outputs == classes and seed % 2 == 0 else generator.standard_normal((outputs, classes))
    initial = (
        generator.standard_normal((features, samples)),
        generator.standard_normal((outputs, features)) / np.sqrt(features),
        0.5 * generator.standard_normal(outputs),
    )
    loss_scale = generator.uniform(0.5, samples)
    return Problem(kappa, per_class, targets, loss_scale, initial, end=loss_scale / samples * generator.uniform(1, 4))


def averages(residual: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """R_class and R_global, repeated to the shape of R."""
    by_class, everywhere = np.empty_like(residual), np.empty_like(residual)
    m = residual.shape[1] // classes
    for c in range(classes):
        by_class[:, c * m : (c + 1) * m] = residual[:, c * m : (c + 1) * m].mean(axis=1, keepdims=True)
    everywhere[:] = residual.mean(axis=1, keepdims=True)
    return by_class, everywhere


def full_residual(problem: Problem, arrays: Arrays) -> np.ndarray:
    h, w, b = arrays
    columns = [problem.targets[:, i // problem.per_class] for i in range(h.shape[1])]
    return w @ h + b[:, None] - np.stack(columns, axis=1)


def right_hand_side(problem: Problem, arrays: Arrays) -> Arrays:
    """(19) over Z, with R_class and R_global written out."""
    h, w, _ = arrays
    d, c, n = problem.kappa
    m, samples = problem.per_class, h.shape[1]
    r = full_residual(problem, arrays)
    r_class, r_global = averages(r, problem.classes)
    h_dot = -w.T @ ((d - c) * r + (c - n) * m * r_class + n * samples * r_global)
    return h_dot / problem.loss_scale, -r @ h.T / problem.loss_scale, -r.sum(axis=1) / problem.loss_scale


def integrate_with_scipy(problem: Problem) -> list[Arrays]:
    """The states at ``problem.times`` by DOP853."""
    shapes = [array.shape for array in problem.initial]
    cuts = np.cumsum([array.size for array in problem.initial])[:-1]

    def unpack(flat: np.ndarray) -> Arrays:
        return tuple(part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True))

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        return np.concatenate([array.ravel() for array in right_hand_side(problem, unpack(flat))])

    start = np.concatenate([array.ravel() for array in problem.initial])
    times = problem.times
    solution = solve_ivp(field, (0, times[-1]), start, method="DOP853", rtol=1e-12, atol=1e-14, t_eval=times)
    assert solution.success
    return [unpack(flat) for flat in solution.y.T]


def invariant_sides(problem: Problem, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """The weight side and the feature side of (26), the scatter as a sum of outer products over samples."""
    h, w, _ = arrays
    d, c, n = problem.kappa
    m, classes = problem.per_class, problem.classes
    mu_single, mu_class = d - c, d - c + m * (c - n)
    alpha = n * m / (mu_class + classes * n * m)
    means = np.stack([h[:, k * m : (k + 1) * m].mean(axis=1) for k in range(classes)], axis=1)
    scatter = np.zeros((len(h), len(h)))
    for i, column in enumerate(h.T):
        away = column - means[:, i // m]
        scatter += np.outer(away, away) / m
    between = means @ (np.eye(classes) - alpha * np.ones((classes, classes))) @ means.T
    return w.T @ w / m, between / mu_class + scatter / mu_single


def flattened(state: object) -> np.ndarray:
    """Features, weight and bias of a state, or of the arrays of one, in one vector."""
    arrays = (state.features, state.weight, state.bias) if isinstance(state, SampleState) else state
    return np.concatenate([np.asarray(array).ravel() for array in arrays])
