"""The solvers by name, and how to integrate with one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import diffrax
import equinox as eqx
from jaxtyping import Array, Float

from ntkflow.flows.solvers import RKC2, kvaerno5_krylov

Method = Literal["tsit5", "dopri8", "rkc2", "kvaerno5", "kvaerno5_krylov"]

SOLVERS: Mapping[Method, Callable[[], diffrax.AbstractSolver]] = {
    "tsit5": diffrax.Tsit5,
    "dopri8": diffrax.Dopri8,
    "rkc2": RKC2,
    "kvaerno5": diffrax.Kvaerno5,
    "kvaerno5_krylov": kvaerno5_krylov,
}
"""Explicit, of order 5 and 8; stabilised explicit, of order 2; implicit, of order 5, with a dense Jacobian or none."""


class Integration(eqx.Module):
    """How to integrate: a method, or ``auto`` for the one with the least work expected
    (:func:`ntkflow.flows.choose_method`), the tolerances of a step, when to give up, and how long the first step is:
    estimated from two evaluations of the vector field, which have to be compiled too, unless told."""

    method: Method | Literal["auto"] = eqx.field(static=True, default="tsit5")
    rtol: float = eqx.field(static=True, default=1e-10)
    atol: float = eqx.field(static=True, default=1e-12)
    max_steps: int = eqx.field(static=True, default=1_000_000)
    first_step: Float[Array, ""] | None = None

    def solver(self) -> diffrax.AbstractSolver:
        """The method for Diffrax.

        Raises:
            ValueError: the choice is still left to :func:`ntkflow.flows.solve`.
        """
        if self.method == "auto":
            raise ValueError("the method is auto: solve and solve_ensemble choose one, integrate needs one")
        return SOLVERS[self.method]()
