"""Implicit steps without a matrix: Newton's method whose linear systems GMRES solves with directional derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from ntkflow.flows.solvers.krylov import gmres

_KAPPA = 1e-2
"""The equations of a stage are solved to this share of what the step size controller tolerates, as is usual (Hairer and
Wanner, *Solving Ordinary Differential Equations II*, section IV.8)."""
_MAX_NEWTON_STEPS = 12


class _State(eqx.Module):
    residual: Float[Array, ""]
    before: Float[Array, ""]
    size: Float[Array, ""]
    begun: Bool[Array, ""]


class NewtonKrylov(optx.AbstractRootFinder):
    """Inexact Newton's method for F(f) = 0: F'(f)δ = F(f) is solved by GMRES up to ‖F − F'δ‖ ≤ forcing · ‖F‖.

    Dembo, Eisenstat and Steihaug, SIAM J. Numer. Anal. 19 (1982). F' is only applied (``jax.linearize``). Made for the
    stages of a Runge–Kutta method of Diffrax, where the unknown f is a slope. A tolerance on a slope must not depend on
    the unit of time, so it is ‖F‖ ≤ κ·rtol·‖f‖ with κ = 0.01; where rounding keeps ‖F‖ above that, ‖F‖ ≤ κ·atol and no
    more progress. A stage whose equations are not solved in 12 steps makes Diffrax reject the step.

    Args:
        rtol: relative tolerance, from the step size controller by ``diffrax.with_stepsize_controller_tols``.
        atol: absolute tolerance of a slope.
        norm: of a PyTree.
        forcing: what GMRES may leave.
        dimension: the largest Krylov space; it is kept in memory, ``dimension + 1`` states.
    """

    rtol: float
    atol: float
    norm: Callable[[PyTree], Any]
    forcing: float = eqx.field(static=True, default=1e-2)
    dimension: int = eqx.field(static=True, default=40)

    def init(
        self, fn: Any, y: PyTree[Array], args: Any, options: Any, f_struct: Any, aux_struct: Any, tags: Any
    ) -> _State:
        """Nothing is known yet."""
        infinite = jnp.asarray(jnp.inf, jnp.result_type(*jax.tree.leaves(y)))
        return _State(infinite, infinite, jnp.zeros_like(infinite), jnp.asarray(False))

    def step(
        self, fn: Any, y: PyTree[Array], args: Any, options: Any, state: _State, tags: Any
    ) -> tuple[PyTree[Array], _State, Any]:
        """Look whether y solves the equations; if not, one Newton step."""
        flat, unravel = ravel_pytree(y)

        def equations(flat: Array) -> tuple[Array, Any]:
            values, aux = fn(unravel(flat), args)
            return ravel_pytree(values)[0], aux

        values, derivative, aux = jax.linearize(equations, flat, has_aux=True)
        size, dtype = jnp.asarray(self.norm(y)), state.residual.dtype
        state = _State(
            jnp.asarray(self.norm(unravel(values)), dtype), state.residual, size.astype(dtype), jnp.asarray(True)
        )
        # Solved already: GMRES of a vanishing right-hand side costs nothing.
        step, _ = gmres(
            derivative,
            jnp.where(self._solved(state), 0.0, values),
            dimension=self.dimension,
            tolerance=self.forcing,
        )
        return unravel(flat - step), state, aux

    def _solved(self, state: _State) -> Bool[Array, ""]:
        stalled = state.residual > 0.5 * state.before
        return (state.residual <= _KAPPA * self.rtol * state.size) | (stalled & (state.residual <= _KAPPA * self.atol))

    def terminate(
        self, fn: Any, y: PyTree[Array], args: Any, options: Any, state: _State, tags: Any
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Solved, or not a number."""
        diverged = state.begun & ~jnp.isfinite(state.residual)
        result = optx.RESULTS.where(diverged, optx.RESULTS.nonlinear_divergence, optx.RESULTS.successful)
        return self._solved(state) | diverged, result

    def postprocess(
        self, fn: Any, y: PyTree[Array], aux: Any, args: Any, options: Any, state: _State, tags: Any, result: Any
    ) -> tuple[PyTree[Array], Any, dict[str, Any]]:
        """The solution as it is."""
        return y, aux, {}


def kvaerno5_krylov(*, forcing: float = 1e-2, dimension: int = 40) -> diffrax.Kvaerno5:
    """Diffrax' Kvaerno5, implicit of order 5, with :class:`NewtonKrylov` for its stages and the tolerances of the step
    size controller.

    For stiff problems of any spectrum, where a dense Jacobian is too large: memory is ``dimension + 1`` states instead
    of a square matrix. A derivative by ``grad`` still solves its linear systems densely, as Diffrax does by default.

    Args:
        forcing: how far GMRES reduces the residual of a Newton step.
        dimension: the largest Krylov space of GMRES.

    Raises:
        ValueError: a forcing outside (0, 1), or a dimension below 1.
    """
    if not 0 < forcing < 1 or dimension < 1:
        raise ValueError(f"need 0 < forcing < 1 and dimension >= 1, not {forcing} and {dimension}")
    finder = diffrax.with_stepsize_controller_tols(NewtonKrylov)(forcing=forcing, dimension=dimension)
    return diffrax.Kvaerno5(root_finder=finder, root_find_max_steps=_MAX_NEWTON_STEPS)
