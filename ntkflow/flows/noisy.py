"""Block values with noise: a stochastic differential equation, with white or with correlated noise."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow, State
from ntkflow.flows.class_means import ClassFlow
from ntkflow.flows.residual import ResidualFlow
from ntkflow.flows.sample import SampleFlow
from ntkflow.flows.states import ClassState
from ntkflow.kernels import BlockKernel

BlockNoise = tuple[float, float, float]
"""σ_d, σ_c, σ_n: the noise of each of the three values, in units of a kernel value times √(gradient-flow time)."""


class AbstractNoisyFlow(AbstractSquaredErrorFlow[State]):
    """dX = f(X) dt + G(X) ∘ dB in the sense of Stratonovich, with three independent Brownian motions."""

    @abc.abstractmethod
    def noise(self, t: Float[Array, ""], state: State, increment: Float[Array, "3"]) -> State:
        """G(X) applied to an increment of the three Brownian motions."""


class NoisyFlow(AbstractNoisyFlow[State]):
    """A flow whose block values fluctuate without memory: κ_i(t) = κ̄_i + σ_i dB_i/dt, independent for i = d, c, n.

    A flow under a block kernel is affine in its values, f(X; κ) = f₀(X) + Σ κ_i g_i(X). So

    dX = f(X; κ̄) dt + Σ σ_i g_i(X) ∘ dB_i,   g_i = ∂f/∂κ_i.

    The integral is Stratonovich's, because that is the limit of smooth fluctuations of ever shorter memory (Wong and
    Zakai 1965; :class:`CorrelatedNoiseFlow` has them). W and b get no noise of their own. All K_i commute, and with
    them the g_i: no Lévy areas are needed. Where R = 0 the noise vanishes. The flow does not conserve E.

    Args:
        flow: the flow without noise, with κ̄.
        noise: σ_d, σ_c, σ_n.

    Raises:
        ValueError: noise that is negative or not finite.
    """

    flow: AbstractSquaredErrorFlow[State]
    loss_scale: Float[Array, ""]
    amplitudes: Float[Array, "3"]

    def __init__(self, flow: AbstractSquaredErrorFlow[State], noise: BlockNoise) -> None:
        self.flow = flow
        self.loss_scale = flow.loss_scale
        self.amplitudes = _amplitudes(flow, noise)

    def vector_field(self, t: Float[Array, ""], state: State, args: Any) -> State:
        """f(X; κ̄), the flow without noise."""
        return self.flow.vector_field(t, state, args)

    def noise(self, t: Float[Array, ""], state: State, increment: Float[Array, "3"]) -> State:
        """Σ σ_i g_i(X) ΔB_i."""
        return derivative_in_kernel(self.flow, t, state, self.amplitudes * increment)

    def residual(self, state: State) -> Float[Array, "outputs samples"]:
        """R of every sample."""
        return self.flow.residual(state)

    def residual_norms(self, state: State) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return self.flow.residual_norms(state)

    def invariants(self, state: State) -> dict[str, Float[Array, "..."]]:
        """None: the noise moves E (:func:`invariant_response`)."""
        return {}


class OffsetState(eqx.Module):
    """A state, and how far the three block values are from their means."""

    state: Any
    offsets: Float[Array, "3"]

    @classmethod
    def at_mean(cls, state: Any) -> OffsetState:
        """The state with the block values at their means."""
        return cls(state, jnp.zeros(3))


class CorrelatedNoiseFlow(AbstractNoisyFlow[OffsetState]):
    """A flow whose block values fluctuate with a memory τ, as Ornstein–Uhlenbeck processes: κ_i(t) = κ̄_i + x_i(t),

    dX = f(X; κ̄ + x) dt,   dx_i = −(x_i/τ) dt + (σ_i/τ) dB_i,   x_i(0) = 0.

    For t ≫ τ the standard deviation of x_i is σ_i/√(2τ), its correlation exp(−|Δt|/τ), and the integral of x_i over a
    long time is σ_i B_i: for τ → 0 this is :class:`NoisyFlow` with the same σ. The noise is additive, so Itô's and
    Stratonovich's integral are the same here.

    Args:
        flow: the flow without noise, with κ̄.
        noise: σ_d, σ_c, σ_n.
        correlation_time: τ, in gradient-flow time of the flow's Z.

    Raises:
        ValueError: noise that is negative or not finite, or a τ that is not positive.
    """

    flow: AbstractSquaredErrorFlow[Any]
    loss_scale: Float[Array, ""]
    amplitudes: Float[Array, "3"]
    correlation_time: Float[Array, ""]

    def __init__(self, flow: AbstractSquaredErrorFlow[Any], noise: BlockNoise, *, correlation_time: float) -> None:
        if not 0 < correlation_time < float("inf"):
            raise ValueError(f"the correlation time must be positive and finite, not {correlation_time}")
        self.flow = flow
        self.loss_scale = flow.loss_scale
        self.amplitudes = _amplitudes(flow, noise)
        self.correlation_time = jnp.asarray(correlation_time, dtype=float)

    def vector_field(self, t: Float[Array, ""], state: OffsetState, args: Any) -> OffsetState:
        """f(X; κ̄ + x) and −x/τ."""
        fixed = self.flow.vector_field(t, state.state, args)
        moved = derivative_in_kernel(self.flow, t, state.state, state.offsets)
        return OffsetState(jax.tree.map(jnp.add, fixed, moved), -state.offsets / self.correlation_time)

    def noise(self, t: Float[Array, ""], state: OffsetState, increment: Float[Array, "3"]) -> OffsetState:
        """0 and σ ΔB/τ."""
        still = jax.tree.map(jnp.zeros_like, state.state)
        return OffsetState(still, self.amplitudes * increment / self.correlation_time)

    def residual(self, state: OffsetState) -> Float[Array, "outputs samples"]:
        """R of every sample."""
        return self.flow.residual(state.state)

    def residual_norms(self, state: OffsetState) -> Float[Array, "3"]:
        """Norms of the three parts of R."""
        return self.flow.residual_norms(state.state)

    def invariants(self, state: OffsetState) -> dict[str, Float[Array, "..."]]:
        """None: the fluctuations move E."""
        return {}


def derivative_in_kernel(
    flow: AbstractSquaredErrorFlow[State], t: Float[Array, ""], state: State, values: Float[Array, "3"]
) -> State:
    """Σ_i v_i ∂f/∂κ_i: how the vector field changes with the kernel's three values. Exact, f being affine in them."""
    kernel = _kernel(flow)
    direction = _with_values(kernel, values)

    def field(kernel: BlockKernel) -> State:
        return eqx.tree_at(_kernel, flow, kernel).vector_field(t, state, None)

    return jax.jvp(field, (kernel,), (direction,))[1]


def invariant_response(flow: ClassFlow, state: ClassState, values: Float[Array, "3"]) -> Float[Array, "dims dims"]:
    """Σ_i v_i ∂E/∂X · g_i(X): how fast E, taken with κ̄, moves where the kernel that acts is κ̄ + v.

    [WᵀR₁B(v)B̄⁻¹H₁ᵀ + (μ_single(v)/μ̄_single) WᵀWS]/Z plus its transpose, where B(κ) = μ_class I + κ_n m 11ᵀ. Under
    :class:`NoisyFlow` dE = Σ σ_i (response to e_i) ∘ dB_i; it is 0 where R₁ = 0 and WS = 0.
    """
    mean, offset, m = flow.kernel, _with_values(flow.kernel, values), flow.kernel.per_class
    residual, means = flow.class_residual(state), state.class_means
    moved = offset.lambda_class * residual + offset.different_class * m * jnp.sum(residual, axis=1, keepdims=True)
    g = (means - mean.alpha * jnp.sum(means, axis=1, keepdims=True)) / mean.lambda_class
    half = state.weight.T @ (moved @ g.T)
    if m > 1:
        share = offset.lambda_single / mean.lambda_single
        half = half + share * (state.weight.T @ (state.weight @ state.within @ state.within.T))
    return (half + half.T) / flow.loss_scale


def _kernel(flow: Any) -> BlockKernel:
    return flow.kernel


def _with_values(kernel: BlockKernel, values: Float[Array, "3"]) -> BlockKernel:
    return BlockKernel(values[0], values[1], values[2], classes=kernel.classes, per_class=kernel.per_class)


def _amplitudes(flow: AbstractSquaredErrorFlow[Any], noise: BlockNoise) -> Float[Array, "3"]:
    if not isinstance(flow, ClassFlow | SampleFlow | ResidualFlow):
        raise ValueError(f"noise is defined for the class, sample and residual flow, not for {type(flow).__name__}")
    if not all(0 <= value < float("inf") for value in noise):
        raise ValueError(f"the noise of a block value must be at least 0 and finite, not {noise}")
    return jnp.asarray(noise, dtype=float)
