"""Which solver: a forecast of the work of each, from how stiff the flow is and how exact the answer shall be."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractFlow
from ntkflow.flows.method import Integration, Method
from ntkflow.flows.solvers import estimate_spectrum

_DENSE = 300
"""Numbers in a state up to which a dense Jacobian is considered at all."""


def settle(
    integration: Integration, flow: AbstractFlow[Any], initial: Any, times: Float[Array, " times"]
) -> tuple[Integration, tuple[str, ...]]:
    """The integration with a method in the place of ``auto``, and what was chosen and why."""
    if integration.method != "auto":
        return integration, ()
    method, why = choose_method(flow, initial, times, integration.rtol)
    return dataclasses.replace(integration, method=method), (why,)


def choose_method(
    flow: AbstractFlow[Any], initial: Any, times: Float[Array, " times"], rtol: float
) -> tuple[Method, str]:
    """The method with the least work expected, and why, as a sentence.

    ρ is the largest rate of the flow at its initial state (Arnoldi on the Jacobian), T the time to integrate over; ρT
    says how many times faster the fastest part is than the run is long. In a gradient flow whose fast parts are spent
    the step may grow in proportion to t, so accuracy asks for steps in proportion to log(1 + ρT), stability of an
    ordinary explicit method for ρT/3.3. The factors, see :func:`expected_work`, were measured on the reference problem
    (docs/solvers.md); ρ changes as the weights do, so this is a guide and not a bound.
    """
    spectrum = estimate_spectrum(flow.vector_field, times[0], initial)
    stiffness = spectrum.radius * float(times[-1] - times[0])
    size = sum(leaf.size for leaf in jax.tree.leaves(initial))
    work = expected_work(stiffness, rtol, size)
    # Stages of a stabilised method cover the negative real axis only.
    if spectrum.widest > 0.1 * spectrum.radius:
        work.pop("rkc2")
    chosen = min(work, key=lambda name: work[name])
    others = ", ".join(f"{name} {amount:.2g}" for name, amount in work.items() if name != chosen)
    return chosen, (
        f"solver {chosen}: about {work[chosen]:.2g} right-hand sides expected against {others}; the fastest rate at "
        f"the start, {spectrum.radius:.3g}, times the length of the run is {stiffness:.3g}"
    )


def expected_work(stiffness: float, rtol: float, size: int) -> dict[Method, float]:
    """Right-hand sides that each method should need, for ρT = ``stiffness`` and a state of ``size`` numbers.

    Steps for accuracy: a·rtol^(−p)·log(1 + ρT), with a and p measured for each method between rtol = 1e-6 and 1e-10.
    Steps for stability: ρT over the stability interval. A step costs its stages; of RKC2 with step h about
    √(1.86·1.2·hρ), summed over steps that grow with t; of an
    implicit method what its linear systems take: without a matrix about 25 evaluations and 190 products with the
    Jacobian, in time as much as 400 to 1 000 right-hand sides, the more the smaller the state.
    """
    logarithm = math.log1p(stiffness)
    rkc2_steps = 0.5 * rtol ** (-1 / 3) * logarithm
    implicit_steps = 0.28 * rtol**-0.22 * logarithm
    work: dict[Method, float] = {
        "tsit5": 6 * max(0.7 * rtol**-0.175 * logarithm, stiffness / 3.3),
        "dopri8": 13 * max(1.6 * rtol**-0.095 * logarithm, stiffness / 6.3),
        "rkc2": 3 * rkc2_steps + 2 * math.sqrt(2.23 * stiffness * rkc2_steps / max(logarithm, 1e-300)),
        "kvaerno5_krylov": 600 * implicit_steps,
    }
    if size <= _DENSE:
        work["kvaerno5"] = (2 * size + 60) * implicit_steps
    return work
