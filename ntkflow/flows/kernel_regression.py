"""Regression with a constant kernel: training and test outputs at every time, from one eigendecomposition."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractFlow
from ntkflow.flows.kernel_modes import AbstractKernelModes
from ntkflow.flows.spectral_factors import descent_step_limit, descent_sums, flow_sums
from ntkflow.kernels import split_eigenspaces


class RegressionOutputs(eqx.Module):
    """f(X) on the training samples and f(x) on the test samples; times or steps come as a leading axis."""

    train: Float[Array, "*times outputs samples"]
    test: Float[Array, "*times outputs test_samples"]


def fitting_start(
    kernel: AbstractKernelModes,
    targets: Float[Array, "outputs samples"],
    initial: RegressionOutputs | None,
    classes: int,
) -> RegressionOutputs:
    """f₀, 0 unless told. Raises ``ValueError`` if targets, f₀ and the number of classes do not fit the kernel."""
    outputs = targets.shape[0]
    shapes = (outputs, kernel.samples), (outputs, kernel.test_samples)
    if initial is None:
        initial = RegressionOutputs(jnp.zeros(shapes[0]), jnp.zeros(shapes[1]))
    if targets.shape != shapes[0] or (initial.train.shape, initial.test.shape) != shapes:
        raise ValueError(
            f"targets of shape {targets.shape} and initial outputs of shapes {initial.train.shape}, "
            f"{initial.test.shape} do not fit a kernel of {kernel.samples} training and {kernel.test_samples} test "
            "samples"
        )
    if classes < 1 or kernel.samples % classes:
        raise ValueError(f"{kernel.samples} samples cannot be sorted into {classes} classes of equal size")
    return initial


class KernelRegressionFlow(AbstractFlow[RegressionOutputs]):
    """ḟ(x) = −[Θ(x, X)(f(X) − Y) + ρ (f(x) − f₀(x))]/Z for training and test samples x, Θ constant and p.s.d.

    For ρ = 0 it is the thesis' (2.58) for squared error: (2.59) on the training samples with Z in the place of N. It is
    the gradient flow in Θ's Hilbert space of ‖f(X) − Y‖²/(2Z) + ρ ‖f − f₀‖²_Θ/(2Z), which for the model linear in its
    parameters f = f₀ + ⟨∇f, θ − θ₀⟩ is weight decay towards θ₀, ρ ‖θ − θ₀‖²/(2Z). With f = f₀ + Θ(·, X)[a],

        ȧ = [Y − f₀(X) − (Θ + ρ)a]/Z,  a(t) = Σ_i (1 − exp(−μ_i t/Z))/μ_i · P_i[Y − f₀(X)],  μ_i = λ_i + ρ.

    This corrects (2.60) and (2.61) and needs no inverse: where μ_i = 0 the factor is t/Z, and Θ(x, X)P_i = 0 takes it
    away. As t → ∞ the factor is 1/μ_i where λ_i > 0. For ρ = 0 that is the smallest f − f₀ in Θ's norm among the f of
    least ‖f(X) − Y‖, and the part of Y − f₀(X) outside Θ's range stays. k steps of descent, with or without momentum,
    have the factor η q_k(ημ_i/Z)/Z (:mod:`ntkflow.flows.spectral_factors`).

    Time is gradient-flow time of the loss with this Z. No invariant is known.

    Args:
        kernel: Θ(X, X) and Θ(x, X) by eigenspaces: :class:`DenseModes` or :class:`BlockModes`.
        targets: Y, a column a training sample.
        loss_scale: Z.
        initial: f₀ on training and test samples; 0 unless told.
        ridge: ρ ≥ 0.
        classes: C, if the samples are sorted by class, C classes of one size. Only the names of the three parts in
            ``residual_norms`` depend on it: with 1 they are mean, 0, and the rest.

    Raises:
        ValueError: shapes that do not fit, a ridge below 0, samples that are no multiple of ``classes``.
    """

    kernel: AbstractKernelModes
    targets: Float[Array, "outputs samples"]
    initial: RegressionOutputs
    loss_scale: Float[Array, ""]
    ridge: Float[Array, ""]
    classes: int = eqx.field(static=True)

    def __init__(
        self,
        kernel: AbstractKernelModes,
        *,
        targets: Float[Array, "outputs samples"],
        loss_scale: float | Float[Array, ""],
        initial: RegressionOutputs | None = None,
        ridge: float = 0.0,
        classes: int = 1,
    ) -> None:
        initial = fitting_start(kernel, targets, initial, classes)
        if not ridge >= 0:
            raise ValueError(f"ridge must be at least 0, not {ridge}")
        self.kernel = kernel
        self.targets = targets
        self.initial = initial
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.ridge = jnp.asarray(ridge, dtype=float)
        self.classes = classes

    @property
    def rates(self) -> Float[Array, " modes"]:
        """(λ_i + ρ)/Z, the decay rate of each mode's distance from its limit."""
        return (self.kernel.eigenvalues + self.ridge) / self.loss_scale

    def vector_field(self, t: Float[Array, ""], state: RegressionOutputs, args: Any) -> RegressionOutputs:
        """The right-hand side, by the kernel itself and not by its eigenspaces."""
        residual, ridge = self.residual(state), self.ridge
        return RegressionOutputs(
            -(self.kernel.apply(residual) + ridge * (state.train - self.initial.train)) / self.loss_scale,
            -(self.kernel.apply_cross(residual) + ridge * (state.test - self.initial.test)) / self.loss_scale,
        )

    def at(self, times: Float[Array, " times"]) -> RegressionOutputs:
        """f(X, t) and f(x, t) at all given times, finite ones, exact; :meth:`limit` is t → ∞."""
        return _outputs_at(self, times)

    def coefficients(self, times: Float[Array, " times"]) -> Float[Array, "times outputs samples"]:
        """a(t) of f = f₀ + Θ(·, X)[a] at all given times, finite ones. θ − θ₀ = ∇f(X; θ₀)ᵀ[a] of the linear model."""
        return _coefficients_at(self, times)

    def after_steps(self, step_size: float, steps: Float[Array, " steps"], momentum: float = 0.0) -> RegressionOutputs:
        """Outputs after all given numbers of steps of gradient descent on the linear model, exact.

        Args:
            step_size: η.
            steps: each k, as floats.
            momentum: β of v ← βv − η∇L, θ ← θ + v, from v = 0.

        Raises:
            ValueError: a β outside [0, 1).
        """
        return _outputs_after(self, jnp.asarray(step_size, dtype=float), steps, momentum)

    def limit(self) -> RegressionOutputs:
        """The outputs as t → ∞, of descent below its step limit too: ridge regression, minimum norm for ρ = 0."""
        moved = self.kernel.eigenvalues > 0
        mu = jnp.where(moved, self.kernel.eigenvalues + self.ridge, 1.0)
        return _outputs(self, jnp.where(moved, 1 / mu, 0.0))

    def step_limit(self, momentum: float = 0.0) -> float:
        """2(1 + β)Z/(λ_max + ρ): beyond this step descent diverges."""
        top = float(jnp.max(self.kernel.eigenvalues))
        # A kernel that is 0 moves nothing, and its ridge pulls at nothing.
        return descent_step_limit(top + float(self.ridge) if top > 0 else 0.0, float(self.loss_scale), momentum)

    def residual(self, state: RegressionOutputs) -> Float[Array, "outputs samples"]:
        """f(X) − Y."""
        return state.train - self.targets

    def residual_norms(self, state: RegressionOutputs) -> Float[Array, "3"]:
        """Norms of the three parts of f(X) − Y."""
        return split_eigenspaces(self.residual(state), self.classes).norms()

    def squared_norm(self, state: RegressionOutputs) -> Float[Array, ""]:
        """‖f − f₀‖²_Θ = ⟨g, Θ⁺g⟩ with g = f(X) − f₀(X), of f = f₀ + Θ(·, X)[a]; ‖θ − θ₀‖² of the linear model."""
        moved = self.kernel.eigenvalues > 0
        inverse = jnp.where(moved, 1 / jnp.where(moved, self.kernel.eigenvalues, 1.0), 0.0)
        return jnp.sum(inverse * self.kernel.energies(state.train - self.initial.train))

    def loss(self, state: RegressionOutputs) -> Float[Array, ""]:
        """[‖f(X) − Y‖² + ρ ‖f − f₀‖²_Θ]/(2Z)."""
        squares = jnp.sum(self.residual(state) ** 2)
        return (squares + self.ridge * self.squared_norm(state)) / (2 * self.loss_scale)

    def invariants(self, state: RegressionOutputs) -> dict[str, Float[Array, "..."]]:
        """None."""
        return {}


def _outputs(flow: KernelRegressionFlow, factors: Float[Array, " modes"]) -> RegressionOutputs:
    """f₀ + Θ[Σ_i factors_i P_i (Y − f₀(X))]."""
    force = flow.targets - flow.initial.train
    return RegressionOutputs(
        flow.initial.train + flow.kernel.filtered(flow.kernel.eigenvalues * factors, force),
        flow.initial.test + flow.kernel.filtered_cross(factors, force),
    )


@eqx.filter_jit
def _outputs_at(flow: KernelRegressionFlow, times: Float[Array, " times"]) -> RegressionOutputs:
    return jax.vmap(lambda time: _outputs(flow, flow_sums(flow.rates, time) / flow.loss_scale))(times)


@eqx.filter_jit
def _coefficients_at(
    flow: KernelRegressionFlow, times: Float[Array, " times"]
) -> Float[Array, "times outputs samples"]:
    force = flow.targets - flow.initial.train
    return jax.vmap(lambda time: flow.kernel.filtered(flow_sums(flow.rates, time) / flow.loss_scale, force))(times)


@eqx.filter_jit
def _outputs_after(
    flow: KernelRegressionFlow, step_size: Float[Array, ""], steps: Float[Array, " steps"], momentum: float
) -> RegressionOutputs:
    def after(count: Float[Array, ""]) -> RegressionOutputs:
        sums = descent_sums(step_size * flow.rates, count, momentum)
        return _outputs(flow, step_size / flow.loss_scale * sums)

    return jax.vmap(after)(steps)
