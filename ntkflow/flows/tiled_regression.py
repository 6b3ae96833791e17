"""Kernel regression whose kernel is too large to be stored: its limit and its outputs at times, by iteration."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.errors import SolverError
from ntkflow.flows.conjugate_gradients import ConjugateGradients, LowRankPreconditioner, conjugate_gradients
from ntkflow.flows.kernel_regression import RegressionOutputs
from ntkflow.flows.lanczos import CHUNK, KrylovSpaces, coefficients_at, extended
from ntkflow.kernels import NystromKernel, TiledKernel


class RegressionLimit(eqx.Module):
    """Outputs as t → ∞.

    Attributes:
        outputs: f(X) and f(x).
        coefficients: a of f = f₀ + Θ(·, X)[a].
        solution: iterations and residuals of each output.
        rank: of the preconditioner.
    """

    outputs: RegressionOutputs
    coefficients: Float[Array, "outputs samples"]
    solution: ConjugateGradients
    rank: int = eqx.field(static=True)


class RegressionMoments(eqx.Module):
    """Outputs at finite times, with bounds on their error that hold up to rounding.

    Attributes:
        outputs: f(X, t) and f(x, t).
        coefficients: a(t).
        train_bound: no further is the root mean square over samples and outputs of f(X, t) from the exact one.
        test_bound: the same of f(x, t).
        steps: applications of the kernel.
    """

    outputs: RegressionOutputs
    coefficients: Float[Array, "times outputs samples"]
    train_bound: Float[Array, " times"]
    test_bound: Float[Array, " times"]
    steps: int = eqx.field(static=True)


@final
class TiledRegression(eqx.Module):
    """The regression of :class:`KernelRegressionFlow` in memory O(tile² + N): Θ is applied, never stored.

    Args:
        kernel: Θ(X, X) of every output; between two outputs it is 0.
        targets: Y, a column a training sample.
        test_inputs: x; none unless given.
        loss_scale: Z.
        initial: f₀ on training and test samples; 0 unless told.
        ridge: ρ ≥ 0.

    Raises:
        ValueError: shapes that do not fit, a ridge below 0, test inputs that the kernel is not defined for.
    """

    kernel: TiledKernel
    targets: Float[Array, "outputs samples"]
    test_inputs: Float[Array, "test_samples ..."]
    test_diagonal: Float[Array, " test_samples"]
    loss_scale: Float[Array, ""]
    initial: RegressionOutputs
    ridge: float = eqx.field(static=True)

    def __init__(
        self,
        kernel: TiledKernel,
        *,
        targets: Float[Array, "outputs samples2"],
        loss_scale: float | Float[Array, ""],
        test_inputs: Float[Array, "test_samples ..."] | None = None,
        initial: RegressionOutputs | None = None,
        ridge: float = 0.0,
    ) -> None:
        outputs, samples = targets.shape
        tests = 0 if test_inputs is None else test_inputs.shape[0]
        if initial is None:
            initial = RegressionOutputs(jnp.zeros((outputs, samples)), jnp.zeros((outputs, tests)))
        shapes = (initial.train.shape, initial.test.shape)
        if samples != kernel.samples or shapes != ((outputs, samples), (outputs, tests)):
            raise ValueError(
                f"targets of shape {targets.shape} and initial outputs of shapes {shapes[0]}, {shapes[1]} do not fit a "
                f"kernel of {kernel.samples} training and {tests} test samples"
            )
        if not ridge >= 0:
            raise ValueError(f"ridge must be at least 0, not {ridge}")
        self.kernel = kernel
        self.targets = targets
        self.test_inputs = kernel.inputs[:0] if test_inputs is None else test_inputs
        self.test_diagonal = kernel.own[:0] if test_inputs is None else kernel.test_diagonal(test_inputs)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.initial = initial
        self.ridge = ridge

    @property
    def force(self) -> Float[Array, "outputs samples"]:
        """Y − f₀(X)."""
        return self.targets - self.initial.train

    def limit(
        self, preconditioner: NystromKernel | None = None, *, tolerance: float = 1e-8, max_steps: int = 1000
    ) -> RegressionLimit:
        """Outputs as t → ∞, by conjugate gradients.

        Args:
            preconditioner: an approximation of the same kernel, to make the iteration shorter; none unless given.
            tolerance: of ‖(Θ + ρ)a − (Y − f₀(X))‖/‖Y − f₀(X)‖, for each output.
            max_steps: the largest number of iterations.

        Raises:
            SolverError: the tolerance was not reached.
            ValueError: the kernel is seen not to be positive semi-definite.
        """
        with_rank = (
            LowRankPreconditioner.none(self.kernel, self.ridge)
            if preconditioner is None
            else LowRankPreconditioner.of(preconditioner, self.ridge)
        )
        found = conjugate_gradients(
            self.kernel,
            with_rank,
            self.force,
            ridge=jnp.asarray(self.ridge),
            tolerance=jnp.asarray(tolerance),
            max_steps=max_steps,
        )
        self._require(found, tolerance)
        outputs = RegressionOutputs(
            self.initial.train + found.product, self.initial.test + self._apply_cross(found.coefficients)
        )
        return RegressionLimit(outputs, found.coefficients, found, with_rank.basis.shape[0])

    def at(self, times: Float[Array, " times"], *, tolerance: float = 1e-8, max_steps: int = 256) -> RegressionMoments:
        """Outputs at all given times, finite ones, by Lanczos' method; a bound on the error comes with them.

        With m steps, a(t) is exact in the space of force, A force, …, A^{m−1} force, A = Θ + ρ, but for the residual
        β_m |a_m(t)| that leaves it. This grows with t and never changes its sign, for T is tridiagonal with entries of
        one sign beside its diagonal. So by Duhamel's formula ‖A e(t)‖ ≤ 2β_m |a_m(t)| of the error e of a(t), and
        ‖e(t)‖ ≤ β_m |a_m(t)| min(t/Z, 1/ρ). The first bounds the error of f(X, t); for f(x, t) it is
        |⟨Θ(x, X), e⟩|² ≤ Θ(x, x) ⟨e, Θe⟩ ≤ Θ(x, x) ‖e‖ ‖A e‖.

        Args:
            times: t.
            tolerance: steps are taken until ``train_bound`` at all times is no larger than this share of the root mean
                square of Y − f₀(X), or ``max_steps`` are reached: then the bounds say what was.
            max_steps: the largest number of applications of Θ, a multiple of 16 or the next one; there are so many
                arrays of the targets' shape.

        Raises:
            ValueError: the kernel is seen not to be positive semi-definite.
        """
        chunks = max(1, -(-min(max_steps, self.kernel.samples) // CHUNK))
        ridge = jnp.asarray(self.ridge)
        spaces = KrylovSpaces.start(self.force, chunks * CHUNK)
        size = float(jnp.linalg.norm(spaces.size))
        steps = 0
        while True:
            spaces = extended((self.kernel, ridge), spaces, jnp.asarray(steps))
            steps += CHUNK
            there = jnp.any(spaces.basis[:, :steps] != 0, axis=2)
            least = float(jnp.min(jnp.where(there, spaces.diagonal[:, :steps], jnp.inf))) - self.ridge
            if least < -self._rounding():
                raise ValueError(
                    f"a kernel must be positive semi-definite, but this one has ⟨v, Θv⟩ = {least:.3g} for a v of norm 1"
                )
            found = coefficients_at(spaces, jnp.asarray(steps), times, self.loss_scale)
            reached = 2 * float(jnp.max(jnp.linalg.norm(found.escaping, axis=1))) <= tolerance * size
            if reached or steps == chunks * CHUNK:
                break
        coefficients = jnp.einsum("tcm,cms->tcs", found.components, spaces.basis[:, :-1])
        image = jnp.einsum("tcm,cms->tcs", found.image, spaces.basis)
        flat = coefficients.reshape(-1, self.kernel.samples)
        test = self._apply_cross(flat).reshape(*coefficients.shape[:2], -1)
        outputs = RegressionOutputs(self.initial.train + image - self.ridge * coefficients, self.initial.test + test)
        return RegressionMoments(outputs, coefficients, *self._bounds(found.escaping, times), steps)

    def losses(
        self, outputs: RegressionOutputs, coefficients: Float[Array, "moments outputs samples"]
    ) -> Float[Array, " moments"]:
        """[‖f(X) − Y‖² + ρ ‖f − f₀‖²_Θ]/(2Z) of moments, ‖f − f₀‖²_Θ = ⟨a, Θa⟩."""
        squares = jnp.sum((outputs.train - self.targets) ** 2, axis=(1, 2))
        penalty = jnp.sum((outputs.train - self.initial.train) * coefficients, axis=(1, 2))
        return (squares + self.ridge * penalty) / (2 * self.loss_scale)

    def _apply_cross(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs test_samples"]:
        if not self.test_inputs.shape[0]:
            return jnp.zeros((array.shape[0], 0))
        return self.kernel.apply_cross(self.test_inputs, array)

    def _bounds(
        self, escaping: Float[Array, "times outputs"], times: Float[Array, " times"]
    ) -> tuple[Float[Array, " times"], Float[Array, " times"]]:
        elapsed = times / self.loss_scale
        if self.ridge > 0:
            elapsed = jnp.minimum(elapsed, 1 / self.ridge)
        squares = jnp.sum(escaping**2, axis=1) / escaping.shape[1]
        mean = jnp.sum(self.test_diagonal) / max(self.test_diagonal.size, 1)
        return 2 * jnp.sqrt(squares / self.kernel.samples), jnp.sqrt(2 * mean * elapsed * squares)

    def _rounding(self) -> float:
        """What is 0 up to rounding beside tr Θ, which is no less than the largest eigenvalue."""
        return 10 * float(jnp.finfo(self.kernel.own.dtype).eps) * float(jnp.sum(self.kernel.own))

    def _require(self, found: ConjugateGradients, tolerance: float) -> None:
        along = jnp.sum(found.coefficients * found.product, axis=1)
        if bool(jnp.any(along < -self._rounding() * jnp.sum(found.coefficients**2, axis=1))):
            raise ValueError(
                "a kernel must be positive semi-definite, but ⟨a, Θa⟩ is negative for the coefficients a that "
                "conjugate gradients came to"
            )
        worst = float(jnp.max(found.residuals))
        if worst <= tolerance:
            return
        steps = int(jnp.max(found.iterations))
        why = (
            "Without ridge the kernel is singular on these samples, or nearly so: take a ridge above 0 (ρ lifts the "
            "smallest eigenvalue to ρ), leave out samples that are equal, or raise max_steps or the rank of the "
            "preconditioner."
            if self.ridge == 0
            else "Take a larger ridge, a larger rank of the preconditioner, more steps, or a larger tolerance."
        )
        raise SolverError(
            f"conjugate gradients came to a relative residual of {worst:.2g} in {steps} iterations, not to the "
            f"tolerance {tolerance:.2g}",
            remedy=why,
        )
