"""The only caller of Diffrax: integrates any flow and says clearly when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ntkflow.errors import SolverError
from ntkflow.flows.abstract import AbstractFlow, State
from ntkflow.flows.choice import settle
from ntkflow.flows.method import Integration
from ntkflow.flows.representation import Representation, choose_representation, represent
from ntkflow.flows.sample import SampleFlow


class Trajectory(eqx.Module, Generic[State]):
    """A solved flow: the states at the saved times, and what follows from them.

    ``integration`` has the method that was used; ``choices`` says why, where the choice was left to :func:`solve`.
    """

    flow: AbstractFlow[State]
    times: Float[Array, " times"]
    states: State
    steps: Int[Array, ""]
    rejected_steps: Int[Array, ""]
    integration: Integration
    choices: tuple[str, ...] = eqx.field(static=True, default=())

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
            + "".join(f"\n  {choice}" for choice in self.choices)
        )


def solve(
    flow: AbstractFlow[Any],
    initial: Any,
    times: Float[Array, " times"],
    integration: Integration | None = None,
    *,
    representation: Representation | Literal["auto"] | None = None,
    samples: bool = True,
    name: str = "the flow",
) -> Trajectory[Any]:
    """Integrate a flow in float64 and save it at the given times.

    Args:
        flow: the system of equations.
        initial: the state at ``times[0]``.
        times: increasing, at least two; gradient-flow time of the flow's own loss scale Z.
        integration: method and tolerances.
        representation: for a :class:`SampleFlow`, the coordinates to integrate it in, see
            :func:`ntkflow.flows.represent`; ``auto`` for the cheapest. None integrates the flow as it is.
        samples: whether a representation has to keep single samples.
        name: what messages call this flow.

    Returns:
        The trajectory, in the representation's coordinates. Its ``flow`` has ``class_state`` and ``sample_state`` to go
        back, its ``choices`` says what was chosen and why.

    Raises:
        ValueError: times that do not increase, numbers that are not float64, a representation of another flow than
            :class:`SampleFlow`, or the invariant's for a kernel that has none.
        SolverError: a state or equations that are not finite, or the solver gave up; says when and what to change.
    """
    integration = Integration() if integration is None else integration
    times = checked_times(times, name)
    _refuse_single_precision("state is", initial, name)
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
    reasons: tuple[str, ...] = ()
    if representation is not None:
        if not isinstance(flow, SampleFlow):
            raise ValueError(f"{name}: representation is a choice for a SampleFlow, not for a {type(flow).__name__}")
        if representation == "auto":
            representation, why = choose_representation(initial, flow.kernel, samples=samples)
            reasons = (why,)
        flow, initial = represent(
            representation, initial, flow.kernel, loss_scale=flow.loss_scale, targets=flow.targets, samples=samples
        )
    integration, choices = settle(integration, flow, initial, times)
    solution = integrate(flow, initial, times, integration)
    if not succeeded(solution):
        raise _gave_up(name, solution, times, integration)
    return Trajectory(
        flow=flow,
        times=times,
        states=solution.ys,
        steps=solution.stats["num_steps"],
        rejected_steps=solution.stats["num_rejected_steps"],
        integration=integration,
        choices=reasons + choices,
    )


@eqx.filter_jit
def integrate(
    flow: AbstractFlow[State],
    initial: State,
    times: Float[Array, " times"],
    integration: Integration,
    observe: Callable[[State], Any] | None = None,
    moving: Bool[Array, ""] | None = None,
) -> diffrax.Solution:
    """The compiled part of :func:`solve`, which never raises by itself; saves ``observe`` of a state if that is given.

    ``moving`` = False holds the state where it is, whatever the equations say: for a member of an ensemble that cannot
    be integrated and must not hold up the others.

    Diffrax's own run-time checks are host callbacks, which keep the program out of JAX's compilation cache and double
    the time to compile it. :func:`solve` has checked the same before; the command line switches them off
    (EQX_ON_ERROR=off).
    """
    return diffrax.diffeqsolve(
        # Diffrax's own type for time is wider than the arrays it passes.
        diffrax.ODETerm(flow.vector_field if moving is None else _Held(flow, moving)),  # pyright: ignore[reportArgumentType]
        integration.solver(),
        t0=times[0],
        t1=times[-1],
        dt0=integration.first_step,
        y0=initial,
        saveat=diffrax.SaveAt(ts=times)
        if observe is None
        else diffrax.SaveAt(ts=times, fn=lambda t, y, args: observe(y)),
        stepsize_controller=_controller(flow, integration),
        max_steps=integration.max_steps,
        throw=False,
    )


class _Held(eqx.Module, Generic[State]):
    """The vector field of a flow, or 0 where it is not to move."""

    flow: AbstractFlow[State]
    moving: Bool[Array, ""]

    def __call__(self, t: Float[Array, ""], state: State, args: Any) -> State:
        """The slope."""
        return jax.tree.map(lambda leaf: jnp.where(self.moving, leaf, 0.0), self.flow.vector_field(t, state, args))


def _controller(flow: AbstractFlow[Any], integration: Integration) -> diffrax.AbstractAdaptiveStepSizeController:
    """By the tolerances. No step goes across a time at which the equations have a kink or a jump: a flow that has such
    times names them as ``jump_times``."""
    controller = diffrax.PIDController(rtol=integration.rtol, atol=integration.atol)
    jumps = flow.jump_times
    return controller if jumps is None else diffrax.ClipStepSizeController(controller, jump_ts=jumps)


def checked_times(times: Float[Array, " times"], name: str) -> Float[Array, " times"]:
    """The times, if they can be integrated over; ``ValueError`` otherwise, with ``name`` for what is integrated."""
    increasing = times.ndim == 1 and times.size >= 2 and bool(jnp.all(jnp.diff(times) > 0))
    if not (increasing and bool(jnp.all(jnp.isfinite(times)))):
        raise ValueError(f"{name}: times must be at least two increasing numbers, all finite, not {times}")
    _refuse_single_precision("times are", times, name)
    return times


def succeeded(solution: diffrax.Solution) -> Bool[Array, ""]:
    """Whether the solver came to the end."""
    return solution.result == diffrax.RESULTS.successful


def _refuse_single_precision(what: str, tree: Any, name: str) -> None:
    for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)):
        if leaf.dtype != jnp.float64:
            raise ValueError(
                f"{name}: flows are integrated in float64, but the {what} {leaf.dtype}; "
                'call jax.config.update("jax_enable_x64", True) before making arrays'
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
