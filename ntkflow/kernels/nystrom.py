"""A kernel of low rank in the place of a large one: Nyström's approximation from pivots drawn at random."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ntkflow.kernels.operator import AbstractKernelOperator
from ntkflow.kernels.tiled_kernel import TiledKernel


@final
class NystromKernel(AbstractKernelOperator):
    """Θ̃(x, x') = Θ(x, S) Θ(S, S)⁻¹ Θ(S, x') with r samples S, on arrays outputs × samples; make it with :meth:`of`.

    0 ≼ Θ̃ ≼ Θ, so that ‖Θ − Θ̃‖ ≤ tr(Θ − Θ̃), which is known exactly. Where S is drawn as here, the expectation of this
    trace is at most (1 + ε) times the least that any kernel of rank k leaves, from r = k/ε + k log(tr Θ/(ε · that
    least)) on (randomly pivoted Cholesky; Chen, Epperly, Tropp and Webber, arXiv 2207.06503). Pivots chosen by the
    largest diagonal that is left have no such promise and follow outliers; columns drawn uniformly need many more where
    the samples have clusters.

    Attributes:
        kernel: Θ.
        factor: F with Θ̃(X, X) = FᵀF; column s of the i-th row is 0 where s is one of the first i pivots.
        pivots: S, as places in X.
        trace: tr Θ(X, X).
        trace_error: tr(Θ − Θ̃)(X, X).
    """

    kernel: TiledKernel
    factor: Float[Array, "rank samples"]
    pivots: Int[Array, " rank"]
    trace: Float[Array, ""]
    trace_error: Float[Array, ""]

    @classmethod
    def of(cls, kernel: TiledKernel, rank: int, *, key: PRNGKeyArray) -> NystromKernel:
        """The approximation from so many samples. Evaluates rank · N pairs and takes 2 rank² N operations beside them.

        Args:
            kernel: Θ and X.
            rank: r, at least 1 and at most N. Where Θ(X, X) has a smaller rank up to rounding, there are fewer pivots.
            key: for the draw.

        Raises:
            ValueError: a rank out of range, or a kernel that is seen not to be positive semi-definite: a diagonal of
                what is left that is negative beyond rounding.
        """
        if not 1 <= rank <= kernel.samples:
            raise ValueError(f"rank must be at least 1 and at most the {kernel.samples} samples, not {rank}")
        factor, pivots, left, least, found = _pivoted(kernel, rank, key)
        # Where a pivot is as small as it may be, rounding of its row is larger than its own by a square root.
        if float(least) < -(float(_floor(kernel) * jnp.max(kernel.own)) ** 0.5):
            raise ValueError(
                f"a kernel must be positive semi-definite, but beside some of the samples this one leaves {least:.3g} "
                "of the diagonal of another"
            )
        rank = int(found)
        return cls(kernel, factor[:rank], pivots[:rank], jnp.sum(kernel.own), jnp.sum(left))

    @property
    def rank(self) -> int:
        """r, of the pivots that there are."""
        return self.factor.shape[0]

    def apply(self, array: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """Θ̃(X, X)[array]."""
        return array @ self.factor.T @ self.factor

    def features(self, inputs: Float[Array, "tests ..."]) -> Float[Array, "rank tests"]:
        """φ with Θ̃(x, X) = φ(x)ᵀF and Θ̃(x, x') = φ(x)ᵀφ(x'), of other inputs."""
        # Row i of the factor is 0 at the pivots before it, by construction; what rounding left there is not looked at.
        triangle = jnp.triu(self.factor[:, self.pivots])
        columns = self.kernel.pairs.block(self.kernel.inputs[self.pivots], inputs)
        return solve_triangular(triangle, columns, trans="T", lower=False)


def _floor(kernel: TiledKernel) -> Float[Array, ""]:
    """A diagonal that is 0 up to rounding."""
    return 10 * kernel.samples * jnp.finfo(kernel.own.dtype).eps * jnp.max(kernel.own)


@eqx.filter_jit
def _pivoted(
    kernel: TiledKernel, rank: int, key: PRNGKeyArray
) -> tuple[
    Float[Array, "rank samples"], Int[Array, " rank"], Float[Array, " samples"], Float[Array, ""], Int[Array, ""]
]:
    """Cholesky's factor by rows; each pivot is drawn with a chance in proportion to the diagonal that is left."""
    floor = _floor(kernel)

    def row(at: Int[Array, ""], state: tuple) -> tuple:
        factor, pivots, left, least, found = state
        there = jnp.max(left) > floor
        pivot = jax.random.categorical(jax.random.fold_in(key, at), jnp.log(jnp.where(left > floor, left, 0.0)))
        pivot = jnp.where(there, pivot, 0).astype(jnp.int32)
        beyond = kernel.rows(pivot[None])[0] - factor[:, pivot] @ factor
        own = left[pivot]
        new = jnp.where(there, beyond / jnp.sqrt(jnp.where(there, own, 1.0)), 0.0)
        raw = left - new**2
        least = jnp.minimum(least, jnp.min(raw))
        return (
            factor.at[at].set(new),
            pivots.at[at].set(pivot),
            jnp.maximum(raw, 0.0).at[pivot].multiply(jnp.where(there, 0.0, 1.0)),
            least,
            found + there.astype(found.dtype),
        )

    dtype = kernel.own.dtype
    start = (
        jnp.zeros((rank, kernel.samples), dtype),
        jnp.zeros(rank, jnp.int32),
        kernel.own,
        jnp.zeros((), dtype),
        jnp.zeros((), jnp.int32),
    )
    return lax.fori_loop(0, rank, row, start)
