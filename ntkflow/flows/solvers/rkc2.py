"""RKC2: an explicit Runge–Kutta–Chebyshev method of order 2 whose stable step grows with the square of its stages.

For problems that are stiff with real, negative eigenvalues, gradient flows above all: a step of size h needs about
√(1.54 hρ) stages, ρ the spectral radius of the Jacobian, where an ordinary explicit method would need hρ/3 steps. No
linear system is solved, no Jacobian formed. After Sommeijer, Shampine and Verwer, *RKC: an explicit solver for
parabolic PDEs*, J. Comput. Appl. Math. 88 (1997); the coefficients are evaluated here by the recurrences of the
Chebyshev polynomials.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

_DAMPING = 2 / 13
_SAFETY = 1.2
"""The estimated spectral radius times this is what a step has to be stable for."""
_ITERATIONS = 12
"""Power iterations before the first step; later steps do one each, from where the last one ended."""


class _State(eqx.Module):
    slope: PyTree[Array]
    direction: PyTree[Array]
    radius: Float[Array, ""]


class RKC2(diffrax.AbstractAdaptiveSolver):
    """Stabilised explicit solver for Diffrax, usable outside ntkflow: ``diffeqsolve(ODETerm(f), RKC2(), ...)``.

    Adaptive, with the embedded error estimate of the paper and dense output by cubic Hermite interpolation (between
    the ends of a step it magnifies the error of parts much faster than the step, tens of times). The
    spectral radius is estimated by a power iteration on finite differences, one evaluation of the vector field a step.
    Works under ``jit``, ``vmap`` and reverse-mode ``grad``. For ODEs of real arrays; eigenvalues far from the negative
    real axis make it reject steps.

    Args:
        max_stages: a step that would need more is rejected, and a smaller one tried.
    """

    max_stages: int = eqx.field(static=True, default=500)

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar[Callable[..., diffrax.AbstractLocalInterpolation]] = (
        diffrax.ThirdOrderHermitePolynomialInterpolation
    )

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        """2."""
        return 2

    def error_order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        """3: the estimate is of the local error."""
        return 3

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree[Array], args: Any) -> _State:
        """Slope at the start, and a first estimate of the spectral radius."""
        slope = terms.vf(t0, y0, args)
        # Deterministic, and with a part along every direction.
        start = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), y0)

        def iterate(_: Int[Array, ""], carry: tuple[PyTree[Array], Array]) -> tuple[PyTree[Array], Array]:
            return _power_iteration(terms, t0, y0, args, slope, carry[0])

        direction, radius = jax.lax.fori_loop(0, _ITERATIONS, iterate, (_unit(start), _norm(start)))
        # Only the number of stages depends on the estimate: nothing to differentiate.
        direction, radius = jax.lax.stop_gradient((direction, radius))
        return _State(slope, direction, radius)

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: PyTree[Array], args: Any, solver_state: _State, made_jump: Any
    ) -> tuple[PyTree[Array], PyTree[Array], dict[str, Any], _State, diffrax.RESULTS]:
        """One step from ``t0`` to ``t1``."""
        h = t1 - t0
        slope = jax.lax.cond(made_jump, lambda: terms.vf(t0, y0, args), lambda: solver_state.slope)
        direction, radius = jax.lax.stop_gradient(_power_iteration(terms, t0, y0, args, slope, solver_state.direction))
        # The iteration approaches the radius from below: the larger of two neighbours, and a margin.
        bound = _SAFETY * jnp.maximum(radius, 0.9 * solver_state.radius)
        wanted = jnp.maximum(2, 1 + jnp.floor(jnp.sqrt(1 + 1.54 * jnp.abs(h) * bound))).astype(jnp.int32)
        stages = jnp.minimum(wanted, self.max_stages)
        y1 = _stages(terms, t0, h, y0, args, slope, stages, self.max_stages)
        slope_end = terms.vf(t1, y1, args)
        too_stiff = jnp.where(wanted > self.max_stages, jnp.inf, 0.0)
        error = jax.tree.map(
            lambda a, b, f0, f1: 0.8 * (a - b) + 0.4 * h * (f0 + f1) + too_stiff, y0, y1, slope, slope_end
        )
        dense = {"y0": y0, "y1": y1, "k0": _times(h, slope), "k1": _times(h, slope_end)}
        return y1, error, dense, _State(slope_end, direction, radius), diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: PyTree[Array], args: Any) -> PyTree[Array]:
        """The vector field."""
        return terms.vf(t0, y0, args)


def _stages(
    terms: Any,
    t0: Any,
    h: Any,
    y0: PyTree[Array],
    args: Any,
    slope: PyTree[Array],
    stages: Int[Array, ""],
    most: int,
) -> PyTree[Array]:
    """The internal stages 1 … s, by the three-term recurrence that keeps them stable."""
    s = stages.astype(h.dtype)
    w0 = 1 + _DAMPING / s**2
    one, zero = jnp.ones_like(w0), jnp.zeros_like(w0)

    def chebyshev(now: tuple[Array, ...]) -> tuple[Array, ...]:
        # (T, T', T'') of degrees j and j − 1 → of degrees j + 1 and j.
        t, dt, ddt, t_, dt_, ddt_ = now
        return 2 * w0 * t - t_, 2 * t + 2 * w0 * dt - dt_, 4 * dt + 2 * w0 * ddt - ddt_, t, dt, ddt

    first = (w0, one, zero, one, zero, zero)
    of_s = jax.lax.fori_loop(1, stages, lambda _, now: chebyshev(now), first)
    w1 = of_s[1] / of_s[2]

    def b(polynomials: tuple[Array, ...]) -> Array:
        return polynomials[2] / polynomials[1] ** 2

    of_2 = chebyshev(first)
    b_2 = b(of_2)
    c_2 = w1 * of_2[2] / of_2[1]
    c_1 = c_2 / of_2[1]
    y_1 = jax.tree.map(lambda y, f: y + b_2 * w1 * h * f, y0, slope)

    def more(carry: Any) -> Array:
        return carry[0] <= stages

    def stage(carry: Any) -> Any:
        j, polynomials, b_now, b_before, a_now, c_now, y_now, y_before = carry
        following = chebyshev(polynomials)
        b_next = b(following)
        mu, nu = 2 * b_next * w0 / b_now, -b_next / b_before
        mu_tilde = 2 * b_next * w1 / b_now
        gamma = -a_now * mu_tilde
        rate = terms.vf(t0 + c_now * h, y_now, args)
        y_next = jax.tree.map(
            lambda y, a, z, f, f0: (1 - mu - nu) * y + mu * a + nu * z + mu_tilde * h * f + gamma * h * f0,
            y0,
            y_now,
            y_before,
            rate,
            slope,
        )
        a_next = 1 - b_next * following[0]
        c_next = w1 * following[2] / following[1]
        return j + 1, following, b_next, b_now, a_next, c_next, y_next, y_now

    # b₀ = b₁ = b₂, and stage 1 is Y₁; the loop makes stages 2 … s.
    start = (jnp.asarray(2, stages.dtype), first, b_2, b_2, 1 - b_2 * w0, c_1, y_1, y0)
    # Checkpointed, so that reverse-mode differentiation reaches through a number of stages known at run time only.
    return eqxi.while_loop(more, stage, start, max_steps=most, kind="checkpointed")[6]


def _power_iteration(
    terms: Any, t: Any, y: PyTree[Array], args: Any, slope: PyTree[Array], direction: PyTree[Array]
) -> tuple[PyTree[Array], Float[Array, ""]]:
    """One power iteration with the Jacobian of the vector field, by a finite difference along ``direction``."""
    scale = jnp.sqrt(jnp.finfo(_dtype(y)).eps) * jnp.maximum(_norm(y), 1e-3)
    moved = terms.vf(t, jax.tree.map(lambda a, d: a + scale * d, y, direction), args)
    product = jax.tree.map(lambda a, b: (a - b) / scale, moved, slope)
    radius = _norm(product)
    # A vanishing Jacobian leaves nothing to iterate on: keep the direction.
    turned = jax.tree.map(
        lambda p, d: jnp.where(radius > 0, p / jnp.where(radius > 0, radius, 1.0), d), product, direction
    )
    return turned, radius


def _times(factor: Any, tree: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def _norm(tree: PyTree[Array]) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def _unit(tree: PyTree[Array]) -> PyTree[Array]:
    return _times(1 / _norm(tree), tree)


def _dtype(tree: PyTree[Array]) -> Any:
    return jnp.result_type(*jax.tree.leaves(tree))
