"""Following the class flow until its limit is known to a tolerance, inside ``jit`` and ``vmap``."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntkflow.collapse.settled import settle
from ntkflow.flows import ClassFlow, ClassState, Integration, integrate

EXPLICIT = Integration(method="tsit5", rtol=1e-10, atol=1e-12, max_steps=200_000)
"""For the transient, where accuracy and not stability limits the step."""
STABILISED = Integration(method="rkc2", rtol=1e-10, atol=1e-12, max_steps=200_000)
"""For the stiff rest."""
_TRANSIENT = 1000.0
"""How long the transient lasts, in units of the inverse of the fastest rate."""


class Approach(eqx.Module):
    """How far towards its limit a flow was followed; made by :func:`approach`, inside ``jit`` and ``vmap``.

    Args:
        state: where the flow was left.
        settled: the limit that follows from there, :func:`ntkflow.collapse.settle`.
        time: when, in the unit of time of the flow's Z, since the start.
        change: relative change of ``settled`` since half that time, the largest of W's, H₁'s, S's and b's.
        error: estimate of what is left, ``change`` times q/(1 − q), q the ratio of the last two changes (1 at most).
        residual: ‖R₁‖/‖T(I − 11ᵀ/C)‖ at ``settled``.
        segments: how often the time was doubled.
        gave_up: the solver used all its steps.
    """

    state: ClassState
    settled: ClassState
    time: Float[Array, ""]
    change: Float[Array, ""]
    error: Float[Array, ""]
    residual: Float[Array, ""]
    segments: Int[Array, ""]
    gave_up: Bool[Array, ""]


@eqx.filter_jit
def approach(
    flow: ClassFlow,
    state: ClassState,
    *,
    tolerance: float | Float[Array, ""] = 1e-8,
    horizon: float | Float[Array, ""] = 1e7,
    transient: Integration = EXPLICIT,
    tail: Integration | None = STABILISED,
) -> Approach:
    """Follow the flow, doubling the time, until its settled state moves less than a tolerance and R₁ is as small.

    The settled states of two times t and 2t differ by about e^{−rt}, r the slowest rate, and the later one is off by
    e^{−2rt}. That is also so where S itself only decays as 1/t.

    Args:
        flow: the equations.
        state: where to start; H₂ may be any factor of S.
        tolerance: of ``error`` and of ``residual``.
        horizon: longest time, in units of the inverse of the fastest rate at the start, ``fastest_rate``.
        transient: method up to 1 000 such units.
        tail: method afterwards; None to go on with the first, which is cheaper to compile.
    """
    unit = 1 / fastest_rate(flow, state)
    targets_size = jnp.linalg.norm(flow.targets - jnp.mean(flow.targets, axis=1, keepdims=True))

    def follow(carry: Approach, method: Integration) -> Approach:
        step = jnp.where(carry.segments == 0, unit, carry.time)
        solution = integrate(flow, carry.state, jnp.stack([jnp.zeros_like(step), step]), method)
        ends: ClassState = jax.tree.map(lambda leaf: leaf[-1], solution.ys)  # pyright: ignore[reportAssignmentType]
        reached = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(ends)]))
        ends = jax.tree.map(lambda new, old: jnp.where(reached, new, old), ends, carry.state)
        settled = settle(flow, ends)
        change = relative_change(settled, carry.settled)
        ratio = jnp.minimum(change / carry.change, 0.5)
        return Approach(
            state=ends,
            settled=settled,
            time=jnp.where(reached, carry.time + step, carry.time),
            change=jnp.where(reached, change, carry.change),
            error=jnp.where(reached, change * ratio / (1 - ratio), carry.error),
            residual=jnp.linalg.norm(flow.class_residual(settled)) / targets_size,
            segments=carry.segments + 1,
            gave_up=~reached,
        )

    def run(carry: Approach, method: Integration, units: Float[Array, ""]) -> Approach:
        def goes_on(carry: Approach) -> Bool[Array, ""]:
            left = (carry.error > tolerance) | (carry.residual > tolerance)
            return left & (carry.time < unit * units) & ~carry.gave_up

        return jax.lax.while_loop(goes_on, lambda carry: follow(carry, method), carry)

    infinite = jnp.asarray(jnp.inf)
    start = Approach(state, state, jnp.zeros(()), infinite, infinite, infinite, jnp.asarray(0), jnp.asarray(False))
    limit = jnp.asarray(horizon, dtype=float)
    if tail is None:
        return run(start, transient, limit)
    return run(run(start, transient, jnp.minimum(limit, _TRANSIENT)), tail, limit)


def fastest_rate(flow: ClassFlow, state: ClassState) -> Float[Array, ""]:
    """(μ_global‖W‖² + m(‖H₁‖² + ‖H₂‖² + C + ‖R₁‖√(μ_global/m)))/Z: at least the largest rate of the linearised flow."""
    kernel = flow.kernel
    m = kernel.per_class
    features = jnp.sum(state.class_means**2) + jnp.sum(state.within**2) + kernel.classes
    residual = jnp.linalg.norm(flow.class_residual(state)) * jnp.sqrt(m * kernel.lambda_global)
    return (kernel.lambda_global * jnp.sum(state.weight**2) + m * features + residual) / flow.loss_scale


def relative_change(new: ClassState, old: ClassState) -> Float[Array, ""]:
    """The largest relative change of W, H₁, S and b; S in units of ‖[H₁, H₂]‖², b in units of 1 + ‖b‖."""
    features = jnp.sum(new.class_means**2) + jnp.sum(new.within**2)
    pairs = [
        (new.weight - old.weight, jnp.linalg.norm(new.weight)),
        (new.class_means - old.class_means, jnp.sqrt(features)),
        (new.within @ new.within.T - old.within @ old.within.T, features),
        (new.bias - old.bias, 1 + jnp.linalg.norm(new.bias)),
    ]
    tiny = jnp.finfo(new.weight.dtype).tiny
    return jnp.max(jnp.stack([jnp.linalg.norm(moved) / (size + tiny) for moved, size in pairs]))
