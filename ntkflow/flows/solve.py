"""The only caller of Diffrax: integrates any flow and says clearly when it cannot."""

from __future__ import annotations

from typing import Any, Generic, Literal, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ntkflow.errors import SolverError
from ntkflow.flows.abstract import AbstractFlow, State
from ntkflow.flows.solvers import RKC2

Method = Literal["tsit5", "dopri8", "rkc2", "kvaerno5"]

_SOLVERS: dict[Method, type[diffrax.AbstractAdaptiveSolver]] = {
    "tsit5": diffrax.Tsit5,
    "dopri8": diffrax.Dopri8,
    "rkc2": RKC2,
    "kvaerno5": diffrax.Kvaerno5,
}


class Integration(eqx.Module):
    """How to integrate: a method, the tolerances of a step, and when to give up."""

    method: Method = eqx.field(static=True, default="tsit5")
    rtol: float = eqx.field(static=True, default=1e-10)
    atol: float = eqx.field(static=True, default=1e-12)
    max_steps: int = eqx.field(static=True, default=1_000_000)


class Trajectory(eqx.Module, Generic[State]):
    """A solved flow: the states at the saved times, and what follows from them."""

    flow: AbstractFlow[State]
    times: Float[Array, " times"]
    states: State
    steps: Int[Array, ""]
    rejected_steps: Int[Array, ""]
    integration: Integration

    @property
    def residual_norms(self) -> Float[Array, "times 3"]:
        """Norms of the residual's global mean, class means and within-class part at every saved time."""
        return _over_times(self.flow.residual_norms, self.states)

    @property
    def residuals(self) -> Float[Array, "times outputs samples"]:
        """R at every saved time."""
        return _over_times(self.flow.residual, self.states)

    @property
    def losses(self) -> Float[Array, " times"]:
        """‖R‖²_F/(2Z) at every saved time."""
        return _over_times(self.flow.loss, self.states)

    @property
    def invariants(self) -> dict[str, Float[Array, "times ..."]]:
        """What the flow should conserve, at every saved time."""
        return _over_times(self.flow.invariants, self.states)

    def state_at(self, index: int) -> State:
        """The state at the saved time of that index."""
        return jax.tree.map(lambda leaf: leaf[index], self.states)

    def __str__(self) -> str:
        return (
            f"Trajectory of {type(self.flow).__name__}, Z = {float(self.flow.loss_scale):g}: "
            f"{self.times.size} times in [{float(self.times[0]):g}, {float(self.times[-1]):g}]\n"
            f"  {self.integration.method}, rtol {self.integration.rtol:g}, atol {self.integration.atol:g}: "
            f"{int(self.steps)} steps, {int(self.rejected_steps)} of them rejected"
        )


def solve(
    flow: AbstractFlow[State],
    initial: State,
    times: Float[Array, " times"],
    integration: Integration | None = None,
    *,
    name: str = "the flow",
) -> Trajectory[State]:
    """Integrate a flow in float64 and save it at the given times.

    Args:
        flow: the system of equations.
        initial: the state at ``times[0]``.
        times: increasing, at least two; gradient-flow time of the flow's own loss scale Z.
        integration: method and tolerances.
        name: what messages call this flow.

    Raises:
        ValueError: times that do not increase, or numbers that are not float64.
        SolverError: a state or equations that are not finite, or the solver gave up; says when and what to change.
    """
    integration = Integration() if integration is None else integration
    increasing = times.ndim == 1 and times.size >= 2 and bool(jnp.all(jnp.diff(times) > 0))
    if not (increasing and bool(jnp.all(jnp.isfinite(times)))):
        raise ValueError(f"{name}: times must be at least two increasing numbers, all finite, not {times}")
    for what, tree in (("times are", times), ("state is", initial)):
        for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)):
            if leaf.dtype != jnp.float64:
                raise ValueError(
                    f"{name}: flows are integrated in float64, but the {what} {leaf.dtype}; "
                    'call jax.config.update("jax_enable_x64", True) before making arrays'
                )
    # A number that is not finite would use up all steps before the solver gave up, with a message about steps.
    if not _all_finite(initial):
        raise SolverError(
            f"{name} starts from a state with numbers that are not finite",
            remedy="Look at where the initial state comes from.",
        )
    if not _all_finite(flow):
        raise SolverError(
            f"{name} has equations ({type(flow).__name__}) with numbers that are not finite",
            remedy="Look at its kernel, its targets and its loss scale.",
        )
    solution = integrate(flow, initial, times, integration)
    if solution.result != diffrax.RESULTS.successful:
        raise _gave_up(name, solution, times, integration)
    return Trajectory(
        flow=flow,
        times=times,
        states=cast(State, solution.ys),
        steps=solution.stats["num_steps"],
        rejected_steps=solution.stats["num_rejected_steps"],
        integration=integration,
    )


@eqx.filter_jit
def integrate(
    flow: AbstractFlow[State], initial: State, times: Float[Array, " times"], integration: Integration
) -> diffrax.Solution:
    """The compiled part of :func:`solve`, which never raises by itself.

    Diffrax's own run-time checks are host callbacks, which keep the program out of JAX's compilation cache and double
    the time to compile it. :func:`solve` has checked the same before; the command line switches them off
    (EQX_ON_ERROR=off).
    """
    return diffrax.diffeqsolve(
        # Diffrax's own type for time is wider than the arrays it passes.
        diffrax.ODETerm(flow.vector_field),  # pyright: ignore[reportArgumentType]
        _SOLVERS[integration.method](),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=initial,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=integration.rtol, atol=integration.atol),
        max_steps=integration.max_steps,
        throw=False,
    )


def _all_finite(tree: Any) -> bool:
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)))


@eqx.filter_jit
def _over_times(function: Any, states: Any) -> Any:
    return jax.lax.map(function, states)


def _gave_up(name: str, solution: diffrax.Solution, times: Float[Array, " times"], used: Integration) -> SolverError:
    # Diffrax leaves the times it did not reach at infinity.
    reached = [float(t) for t in np.asarray(solution.ts) if np.isfinite(t)]
    until = reached[-1] if reached else float(times[0])
    if solution.result == diffrax.RESULTS.max_steps_reached:
        what = f"{used.method} used all its {used.max_steps} steps"
        remedy = "Raise solver.max_steps, loosen solver.rtol and solver.atol, or end earlier."
        if used.method != "rkc2":
            remedy += " If the problem is stiff (rates far apart), use solver.method: rkc2."
    else:
        what = f"{used.method} gave up ({diffrax.RESULTS[solution.result].strip()})"
        remedy = "Loosen solver.rtol and solver.atol, or try solver.method: kvaerno5."
    return SolverError(f"{what} between t = {until:g} and t = {float(times[-1]):g}", place=name, remedy=remedy)
