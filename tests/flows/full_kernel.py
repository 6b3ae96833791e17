"""Gradient flow of (H, W, b) under any kernel written out over all pairs of features and samples, in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from kernels.dense import relative_difference
from scipy.integrate import solve_ivp

from ntkflow.flows import SampleState

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FullProblem:
    """Θʰ as (n, N, n, N), targets of every sample, Z, an initial state and an end."""

    theta: np.ndarray
    columns: np.ndarray
    loss_scale: float
    initial: Arrays
    end: float
    softmax: bool = False

    @property
    def state(self) -> SampleState:
        return SampleState(*map(jnp.asarray, self.initial))

    @property
    def times(self) -> np.ndarray:
        return np.linspace(0, self.end, 4)


def residual(problem: FullProblem, arrays: Arrays) -> np.ndarray:
    h, w, b = arrays
    f = w @ h + b[:, None]
    if problem.softmax:
        f = np.exp(f) / np.exp(f).sum(axis=0)
    return f - problem.columns


def integrate_with_scipy(problem: FullProblem) -> list[Arrays]:
    """The states at ``problem.times`` by DOP853."""
    shapes = [array.shape for array in problem.initial]
    cuts = np.cumsum([array.size for array in problem.initial])[:-1]
    n, samples = shapes[0]
    square = np.ascontiguousarray(problem.theta.reshape(n * samples, n * samples))

    def unpack(flat: np.ndarray) -> Arrays:
        return tuple(part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True))

    # ḣ_p(x_j) = −Σ_{q,i} Θʰ_pq(x_j, x_i)(WᵀR)_qi/Z, and the gradients of the readout.
    def field(_: float, flat: np.ndarray) -> np.ndarray:
        h, w, b = unpack(flat)
        r = residual(problem, (h, w, b)) / problem.loss_scale
        return -np.concatenate([square @ (w.T @ r).ravel(), (r @ h.T).ravel(), r.sum(axis=1)])

    start = np.concatenate([array.ravel() for array in problem.initial])
    times = problem.times
    solution = solve_ivp(field, (0, times[-1]), start, method="DOP853", rtol=1e-12, atol=1e-14, t_eval=times)
    assert solution.success
    return [unpack(flat) for flat in solution.y.T]


def random_start(generator: np.random.Generator, *, features: int, samples: int, outputs: int) -> Arrays:
    return (
        generator.standard_normal((features, samples)),
        generator.standard_normal((outputs, features)) / np.sqrt(features),
        0.5 * generator.standard_normal(outputs),
    )


def for_each_feature(kernel: np.ndarray, features: int) -> np.ndarray:
    """One N×N kernel for every feature, zero between two."""
    return np.einsum("pq,ji->pjqi", np.eye(features), kernel)


def three_parts(array: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Mean over all samples, class means minus it, and the rest, all repeated to the shape of the array."""
    everywhere = np.repeat(array.mean(axis=1, keepdims=True), array.shape[1], axis=1)
    by_class = np.stack([array[:, labels == label].mean(axis=1) for label in labels], axis=1)
    return [everywhere, by_class - everywhere, array - by_class]


def spread(values: np.ndarray) -> float:
    """The largest change over the first axis, in Frobenius norm."""
    return max(float(np.linalg.norm(value - values[0])) for value in np.asarray(values))


@eqx.filter_jit
def observe(flow: Any, states: Any) -> dict[str, Any]:
    """What a flow says about each of a stack of states: compiled once for all of it."""

    def one(state: Any) -> dict[str, Any]:
        return {
            "sample": flow.sample_state(state),
            "residual": flow.residual(state),
            "norms": flow.residual_norms(state),
            "loss": flow.loss(state),
            **flow.invariants(state),
        }

    return jax.lax.map(one, states)


def assert_agrees(
    problem: FullProblem, flow: Any, states: Any, labels: np.ndarray, tolerance: float = 1e-8
) -> dict[str, Any]:
    """States, R, its three norms and the loss against SciPy at every time; gives what was observed."""
    seen = jax.tree.map(np.asarray, observe(flow, states))
    for index, expected in enumerate(integrate_with_scipy(problem)):
        arrays = [leaf[index] for leaf in jax.tree.leaves(seen["sample"])]
        for ours, theirs in zip(arrays, expected, strict=True):
            assert relative_difference(ours, theirs) <= tolerance
        r = residual(problem, expected)
        assert relative_difference(seen["residual"][index], r) <= tolerance
        norms = [np.linalg.norm(part) for part in three_parts(r, labels)]
        assert relative_difference(seen["norms"][index], norms) <= tolerance
        loss = np.sum(r**2) / 2
        if problem.softmax:
            logits = expected[1] @ expected[0] + expected[2][:, None]
            loss = np.sum(np.log(np.exp(logits).sum(axis=0)) - np.sum(problem.columns * logits, axis=0))
        assert abs(seen["loss"][index] * problem.loss_scale / loss - 1) <= tolerance
    return seen
