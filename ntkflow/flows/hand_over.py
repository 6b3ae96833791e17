"""When the hyperbolic flow may take over from the full one, with a bound on what it neglects."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.flows.hand_over_bounds import Distances, Sizes, across, coefficients_on
from ntkflow.flows.hyperbolic import HyperbolicFlow, HyperbolicState
from ntkflow.flows.sample import targets_for
from ntkflow.flows.states import ClassState
from ntkflow.kernels import BlockKernel


class HandOver(eqx.Module):
    """The hyperbolic flow from a state of the full flow (25), and bounds on the difference of the two at ``times``.

    Each bound holds at every time from 0 to the one it stands for, up to floating-point rounding; it is infinite where
    none was found. Index h marks the hyperbolic flow, 0 the start.

    Attributes:
        flow: the flow that takes over.
        state: where it starts.
        times: from 0 to the end, gradient-flow time of the flow's Z; not evenly spaced.
        weight_bound: on ‖W − W_h‖_F.
        within_bound: on ‖H₂ − H₂,h‖_F.
        scatter_bound: on ‖S − S_h‖_F.
        class_means_bound: on ‖H₁ − H₁(0)‖_F.
        class_residual_bound: on ‖R₁‖_F, at that time alone.
        weight_norm: ‖W(0)‖_F.
        scatter_norm: ‖S(0)‖_F.
    """

    flow: HyperbolicFlow
    state: HyperbolicState
    times: Float[Array, " times"]
    weight_bound: Float[Array, " times"]
    within_bound: Float[Array, " times"]
    scatter_bound: Float[Array, " times"]
    class_means_bound: Float[Array, " times"]
    class_residual_bound: Float[Array, " times"]
    weight_norm: Float[Array, ""]
    scatter_norm: Float[Array, ""]

    def trusted_until(self, tolerance: float) -> float:
        """The last of ``times`` up to which the bounds on W and S are below ``tolerance`` times ‖W(0)‖ and ‖S(0)‖.

        Raises:
            ValueError: a tolerance that is not positive.
        """
        if not tolerance > 0:
            raise ValueError(f"the tolerance has to be positive, not {tolerance}")
        small = self.weight_bound <= tolerance * self.weight_norm
        fine = np.asarray(small & (self.scatter_bound <= tolerance * self.scatter_norm))
        return float(np.asarray(self.times)[np.argmin(np.append(fine, False)) - 1]) if fine[0] else 0.0

    def holds(self, tolerance: float) -> bool:
        """Whether the hyperbolic flow may stand for the full one until the last of ``times``, at that tolerance."""
        return self.trusted_until(tolerance) == float(self.times[-1])


def hand_over(
    state: ClassState,
    kernel: BlockKernel,
    *,
    loss_scale: float,
    until: float,
    targets: Float[Array, "outputs classes"] | None = None,
    points: int = 400,
) -> HandOver:
    """Let the hyperbolic flow take over from the class flow (25) at a state, and bound what it neglects.

    R₁ need not be 0 at the state, and does not stay 0 where it is. With time in units of Z, let V = √μ W, a = √m H₂,
    r = Va, μ = μ_single, B = μ_class I + κ_n m 11ᵀ, and let v, f, g be the Frobenius norms of V − V_h, a − a_h,
    r − r_h, further η = ‖H₁ − H₁(0)‖_F, ρ = ‖R₁‖_F and p = m√μ (‖H₁(0)‖ + η) ρ, what R₁ does to V. Then

    v̇ ≤ (‖a_h‖ + f) g + ‖r_h‖ f + p,
    ḟ ≤ (‖r_h‖ + g) v + ‖V_h‖ g,
    ġ ≤ −(σ_min(V_h) − v)² g + ‖r_h‖ [(2‖a_h‖ + f) f + (2‖V_h‖ + v) v] + (‖a_h‖ + f) p,
    η̇ ≤ (‖V_h‖ + v) λ_max(B) ρ/√μ,
    ρ̇ ≤ −[m (σ_min([H₁(0); 1ᵀ]) − η)² + λ_min(B) (σ_min(V_h) − v)²/μ] ρ + ‖r aᵀH₁‖_F/√μ,

    with 0 for a bracket (σ − …) that is negative. The norms with h are closed forms. On each interval of a grid they
    are replaced by their extremes, and a candidate for the largest v, f, g, η on it is verified to hold the solution.

    Args:
        state: a state of the class flow; only S matters of H₂.
        kernel: Θʰ.
        loss_scale: Z.
        until: the last time.
        targets: T; the identity unless given.
        points: intervals of the grid. More of them make the bound less pessimistic, not safer.

    Raises:
        ValueError: a time that is not positive and finite, μ_single, μ_class or μ_global not positive, no interval,
            or targets for another number of classes.
    """
    if not (until > 0 and math.isfinite(until)):
        raise ValueError(f"the last time has to be positive and finite, not {until}")
    if points < 1:
        raise ValueError(f"the grid needs at least one interval, not {points}")
    if not min(float(value) for value in kernel.eigenvalues) > 0:
        raise ValueError("the bound needs a kernel Θʰ with positive eigenvalues (global, class, single)")
    flow, hyperbolic = HyperbolicFlow(kernel, loss_scale=loss_scale), HyperbolicState.from_class_state(state)
    return _bounds(flow, hyperbolic, state, targets_for(kernel, targets), jnp.asarray(until, float), points)


@eqx.filter_jit
def _bounds(
    flow: HyperbolicFlow,
    hyperbolic: HyperbolicState,
    state: ClassState,
    targets: Float[Array, "outputs classes"],
    until: Float[Array, ""],
    points: int,
) -> HandOver:
    kernel, m, means = flow.kernel, flow.kernel.per_class, state.class_means
    single, root = kernel.lambda_single, jnp.sqrt(kernel.lambda_single)
    singular = jnp.linalg.svd(jnp.vstack([means, jnp.ones((1, means.shape[1]))]), compute_uv=False)
    # The operator R ↦ R([H₁; 1ᵀ]ᵀ[H₁; 1ᵀ]) is singular where C exceeds the number of rows.
    smallest = singular[-1] if means.shape[1] <= means.shape[0] + 1 else jnp.zeros(())
    sizes = Sizes(
        single=single,
        per_class=m,
        means=jnp.linalg.norm(means, 2),
        smallest_means=smallest,
        largest_kernel=jnp.maximum(kernel.lambda_class, kernel.lambda_global),
        smallest_kernel=jnp.minimum(kernel.lambda_class, kernel.lambda_global),
    )
    times = _grid(flow, hyperbolic, until, points)
    coefficients = coefficients_on(flow.grams_at(hyperbolic, times), state, jnp.diff(times) / flow.loss_scale, sizes)
    residual = jnp.linalg.norm(state.weight @ means + state.bias[:, None] - targets)
    nothing = jnp.zeros(())
    start = Distances(nothing, nothing, nothing, nothing, residual)

    def advance(distances: Distances, interval: Coefficients) -> tuple[Distances, Distances]:
        reached = across(distances, interval, sizes)
        return reached, reached

    _, reached = jax.lax.scan(advance, start, coefficients)
    bound = jax.tree.map(jnp.append, start, reached)
    feature = jnp.append(coefficients.feature[:1], coefficients.feature)
    return HandOver(
        flow=flow,
        state=hyperbolic,
        times=times,
        weight_bound=bound.weight / root,
        within_bound=bound.feature / jnp.sqrt(m),
        # P − P_h = δa a_hᵀ + a_h δaᵀ + δa δaᵀ.
        scatter_bound=(2 * feature * bound.feature + bound.feature**2) / m,
        class_means_bound=bound.means,
        class_residual_bound=bound.class_residual,
        weight_norm=jnp.linalg.norm(state.weight),
        scatter_norm=jnp.linalg.norm(hyperbolic.scatter),
    )


def _grid(flow: HyperbolicFlow, state: HyperbolicState, until: Float[Array, ""], points: int) -> Float[Array, " times"]:
    """From 0 to the end, evenly at first and then in equal ratios, since the hyperbolic flow slows down with time."""
    grams = flow.grams_at(state, jnp.zeros(1))
    rate = jnp.trace(grams.feature_gram[0]) + jnp.trace(grams.weight_gram[0])
    reach = jnp.maximum(rate * until / flow.loss_scale, 1e-3)
    fractions = jnp.expm1(jnp.linspace(0.0, 1.0, points + 1) * jnp.log1p(reach)) / reach
    return until * fractions.at[-1].set(1.0)
