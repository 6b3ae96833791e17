"""RKC2: an explicit Runge–Kutta–Chebyshev method of order 2 whose stable step grows with the square of its stages.

For problems that are stiff with real, negative eigenvalues, gradient flows above all: a step of size h needs about
√(1.9 hρ) stages, ρ the spectral radius of the Jacobian, where an ordinary explicit method would need hρ/3 steps. No
linear system is solved, no Jacobian formed. After Sommeijer, Shampine and Verwer, *RKC: an explicit solver for
parabolic PDEs*, J. Comput. Appl. Math. 88 (1997); the coefficients are evaluated here by the recurrences of the
Chebyshev polynomials, and the damping is stronger (see ``_DAMPING``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from ntkflow.flows.solvers.power_iteration import Growth

_DAMPING = 2.0
"""ε in w₀ = 1 + ε/s². A step multiplies a mode in the interior of the stability interval by at most 0.59 … 0.72 (by
degree). With the paper's 2/13 that is 0.95, and what a large step leaves in a fast mode takes tens of steps to fade;
the price is 10 % more stages."""
_X = math.sqrt(2 * _DAMPING)
_REACH = 2 * (_X / math.tanh(_X) - 1) / _X**2
"""The stability interval reaches to at least this times s² − 1 (the limit s → ∞; fewer stages reach further)."""
_SAFETY = 1.2
"""The estimated spectral radius times this is what a step has to be stable for."""


class _State(eqx.Module):
    slope: PyTree[Array]
    growth: Growth


class RKC2(diffrax.AbstractAdaptiveSolver):
    """Stabilised explicit solver for Diffrax, usable outside ntkflow: ``diffeqsolve(ODETerm(f), RKC2(), ...)``.

    Adaptive, with the embedded error estimate of the paper and dense output by cubic Hermite interpolation (between
    the ends of a step it magnifies the error of parts much faster than the step, tens of times). The spectral radius
    is estimated by a power iteration on finite differences, one evaluation of the vector field a step. Works forwards
    and backwards in time, under ``jit``, ``vmap`` (every member then pays for the most stages) and ``grad``. For ODEs
    of real arrays; eigenvalues far from the negative real axis make it reject steps.

    Args:
        max_stages: a step that would need more is rejected, and a smaller one tried. Rounding errors grow with its
            square: in float32 take 100.
        differentiation: ``reverse`` (``grad``, with Diffrax' default adjoint) or ``forward`` (``jvp``, with
            ``diffrax.ForwardMode``). A loop of unknown length can be one of the two.

    Raises:
        ValueError: for fewer than 2 stages, and for a state that is not real.
    """

    max_stages: int = eqx.field(static=True, default=1000)
    differentiation: Literal["reverse", "forward"] = eqx.field(static=True, default="reverse")

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar[Callable[..., diffrax.AbstractLocalInterpolation]] = (
        diffrax.ThirdOrderHermitePolynomialInterpolation
    )

    def __check_init__(self) -> None:
        if self.max_stages < 2:
            raise ValueError(f"RKC2 needs max_stages >= 2, not {self.max_stages}")
        if self.differentiation not in ("reverse", "forward"):
            raise ValueError(f"RKC2's differentiation is 'reverse' or 'forward', not {self.differentiation!r}")

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        """2."""
        return 2

    def error_order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        """3: the estimate is of the local error."""
        return 3

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree[Array], args: Any) -> _State:
        """Slope at the start; the first step makes the first estimate of the spectral radius."""
        kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(y0) if not jnp.issubdtype(leaf.dtype, jnp.floating)}
        if kinds:
            raise ValueError(f"RKC2 integrates real floating-point states, not {', '.join(sorted(kinds))}")
        return _State(terms.vf(t0, y0, args), Growth.guess(y0))

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: PyTree[Array], args: Any, solver_state: _State, made_jump: Any
    ) -> tuple[PyTree[Array], PyTree[Array], dict[str, Any], _State, diffrax.RESULTS]:
        """One step from ``t0`` to ``t1``."""
        if made_jump is not False:
            # Behind a jump neither slope nor Jacobian are those of the step before.
            solver_state = jax.lax.cond(made_jump, lambda: self.init(terms, t0, t1, y0, args), lambda: solver_state)
        slope = solver_state.slope
        growth = solver_state.growth.improved(lambda y: terms.vf(t0, y, args), y0, slope, self._loop)
        h, control = t1 - t0, terms.contr(t0, t1)
        # As a float up to the limit: hρ may be beyond every integer.
        wanted = 1 + jnp.floor(jnp.sqrt(1 + jnp.abs(h) * _SAFETY * growth.size / _REACH))
        fits = wanted <= self.max_stages
        # A step that will be rejected anyway is made with the fewest stages.
        stages = jnp.where(fits, jnp.maximum(wanted, 2), 2).astype(jnp.int32)
        k0 = terms.prod(slope, control)
        y1, slope_end = self._stages(terms, t0, h, control, y0, args, slope, k0, stages)
        k1 = terms.prod(slope_end, control)
        error = jax.tree.map(
            lambda a, b, f0, f1: jnp.where(fits, 0.8 * (a - b) + 0.4 * (f0 + f1), jnp.inf), y0, y1, k0, k1
        )
        dense = {"y0": y0, "y1": y1, "k0": k0, "k1": k1}
        return y1, error, dense, _State(slope_end, growth), diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: PyTree[Array], args: Any) -> PyTree[Array]:
        """The vector field."""
        return terms.vf(t0, y0, args)

    def _stages(
        self,
        terms: Any,
        t0: Any,
        h: Any,
        control: Any,
        y0: PyTree[Array],
        args: Any,
        slope: PyTree[Array],
        k0: PyTree[Array],
        stages: Int[Array, ""],
    ) -> tuple[PyTree[Array], PyTree[Array]]:
        """y₁ and the slope there: the internal stages 1 … s, by the three-term recurrence that keeps them stable.

        k₀ is h times the slope at y₀. The slope at the end is a last round of the same loop: the vector field is most
        of what there is to compile, and each place that calls it is compiled anew.
        """
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
        y_1 = jax.tree.map(lambda y, k: y + (b_2 * w1).astype(y.dtype) * k, y0, k0)

        def more(carry: Any) -> Array:
            return carry[0] <= stages + 1

        def stage(carry: Any) -> Any:
            j, polynomials, b_now, b_before, a_now, c_now, y_now, y_before, _ = carry
            ended = j > stages
            slope = terms.vf(t0 + jnp.where(ended, 1, c_now) * h, y_now, args)
            following = chebyshev(polynomials)
            b_next = b(following)
            mu, nu = 2 * b_next * w0 / b_now, -b_next / b_before
            mu_tilde = 2 * b_next * w1 / b_now
            factors = (1 - mu - nu, mu, nu, mu_tilde, -a_now * mu_tilde)
            k_now = terms.prod(slope, control)

            def combine(*leaves: Array) -> Array:
                scaled = [factor.astype(leaf.dtype) * leaf for factor, leaf in zip(factors, leaves, strict=True)]
                return jnp.where(ended, leaves[1], functools.reduce(jnp.add, scaled))

            y_next = jax.tree.map(combine, y0, y_now, y_before, k_now, k0)
            a_next = 1 - b_next * following[0]
            c_next = w1 * following[2] / following[1]
            return j + 1, following, b_next, b_now, a_next, c_next, y_next, y_now, slope

        # b₀ = b₁ = b₂, and stage 1 is Y₁; the loop makes stages 2 … s, and then the slope at Y_s.
        start = (jnp.asarray(2, stages.dtype), first, b_2, b_2, 1 - b_2 * w0, c_1, y_1, y0, slope)
        done = self._loop(more, stage, start, self.max_stages)
        return done[6], done[8]

    def _loop(
        self, more: Callable[[Any], Any], body: Callable[[Any], Any], start: PyTree[Array], most: int
    ) -> PyTree[Array]:
        if self.differentiation == "forward":
            return jax.lax.while_loop(more, body, start)
        # Checkpointed, so that reverse-mode differentiation reaches through a number of rounds known at run time only.
        return eqxi.while_loop(more, body, start, max_steps=most, kind="checkpointed")
