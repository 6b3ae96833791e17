"""Where a large kernel regression ends: conjugate gradients on an operator, with a preconditioner of low rank."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Int

from ntkflow.kernels import NystromKernel, TiledKernel


class ConjugateGradients(eqx.Module):
    """a with (Θ + ρ)a = force, how it was found, and how well.

    Attributes:
        coefficients: a.
        product: Θ[a], by one more application.
        iterations: of each output; one application of Θ an iteration serves all of them, and every tenth takes two.
        residuals: ‖(Θ + ρ)a − force‖/‖force‖ of each output, measured with ``product``; 0 where force is 0.
    """

    coefficients: Float[Array, "outputs samples"]
    product: Float[Array, "outputs samples"]
    iterations: Int[Array, " outputs"]
    residuals: Float[Array, " outputs"]


class LowRankPreconditioner(eqx.Module):
    """P⁻¹ with P = (Θ̃ + ν)/ν of Nyström's Θ̃ and ν = ρ + tr(Θ − Θ̃)/N, the mean eigenvalue of what Θ̃ leaves.

    (Θ + ρ)/ν is then near P: on what Θ̃ sees, up to the rest, and elsewhere its eigenvalues lie about 1, between ρ/ν and
    (ρ + ‖Θ − Θ̃‖)/ν.
    """

    basis: Float[Array, "rank samples"]
    factors: Float[Array, " rank"]
    scale: Float[Array, ""]

    @classmethod
    def of(cls, kernel: NystromKernel, ridge: float) -> LowRankPreconditioner:
        """The preconditioner that an approximation gives for Θ + ρ."""
        _, singular, basis = jnp.linalg.svd(kernel.factor, full_matrices=False)
        mean = kernel.trace_error / kernel.factor.shape[1]
        # An approximation without error and no ridge: all that is left is rounding.
        scale = jnp.maximum(ridge + mean, jnp.finfo(basis.dtype).eps * singular[0] ** 2)
        return cls(basis, scale / (singular**2 + scale), scale)

    @classmethod
    def none(cls, kernel: TiledKernel, ridge: float) -> LowRankPreconditioner:
        """No preconditioner: P = 1, ν the mean eigenvalue of Θ + ρ."""
        scale = ridge + jnp.mean(kernel.own)
        return cls(
            jnp.zeros((0, kernel.samples), kernel.own.dtype),
            jnp.zeros(0, kernel.own.dtype),
            jnp.where(scale > 0, scale, 1.0),
        )

    def __call__(self, vector: Float[Array, " samples"]) -> Float[Array, " samples"]:
        """P⁻¹[vector]."""
        seen = self.basis @ vector
        return vector + ((self.factors - 1) * seen) @ self.basis


@eqx.filter_jit
def conjugate_gradients(
    kernel: TiledKernel,
    preconditioner: LowRankPreconditioner,
    force: Float[Array, "outputs samples"],
    *,
    ridge: Float[Array, ""],
    tolerance: Float[Array, ""],
    max_steps: int,
) -> ConjugateGradients:
    """Solve (Θ + ρ)a = force for all outputs at once, each with conjugate gradients of its own (Lineax' CG).

    Nothing is raised: ``residuals`` tell how far it came, NaN where numbers left the finite ones.

    Args:
        kernel: Θ.
        preconditioner: P and ν.
        force: one right-hand side an output.
        ridge: ρ ≥ 0.
        tolerance: of ‖(Θ + ρ)a − force‖/‖force‖; half of it is asked of Lineax, whose own residual drifts a little. The
            last change of νa has to be as small.
        max_steps: the largest number of iterations.
    """
    sizes = jnp.linalg.norm(force, axis=1, keepdims=True)
    scale = preconditioner.scale

    def product(vector: Float[Array, " samples"]) -> Float[Array, " samples"]:
        # In units of ν, so that Lineax' one tolerance means the same for right-hand sides and for solutions.
        return (kernel.apply(vector[None])[0] + ridge * vector) / scale

    def solve(vector: Float[Array, " samples"]) -> tuple[Array, Array]:
        structure = jax.ShapeDtypeStruct(vector.shape, vector.dtype)
        operator = lx.FunctionLinearOperator(product, structure, lx.positive_semidefinite_tag)
        inverse = lx.FunctionLinearOperator(preconditioner, structure, lx.positive_semidefinite_tag)
        solver = lx.CG(rtol=0.0, atol=tolerance / 2, norm=jnp.linalg.norm, max_steps=max_steps)  # pyright: ignore[reportArgumentType]
        found = lx.linear_solve(operator, vector, solver, options={"preconditioner": inverse}, throw=False)
        return found.value, found.stats["num_steps"]

    # The kernel does not depend on the output: under vmap a tile is made once for all of them.
    units, iterations = jax.vmap(solve)(force / jnp.where(sizes > 0, sizes, 1.0))
    coefficients = units * sizes / scale
    made = kernel.apply(coefficients)
    left = jnp.linalg.norm(made + ridge * coefficients - force, axis=1, keepdims=True)
    residuals = jnp.where(sizes > 0, left / jnp.where(sizes > 0, sizes, 1.0), 0.0)
    return ConjugateGradients(coefficients, made, iterations, residuals[:, 0])
