"""The largest eigenvalue of a symmetric matrix that is known by its products, and how far it may be off."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import eigh_tridiagonal


@dataclasses.dataclass(frozen=True)
class TopEigenvalue:
    """The largest Ritz value of a Krylov space.

    Attributes:
        value: never above the largest eigenvalue, but for rounding.
        error: an eigenvalue lies within this distance (‖Av − θv‖ of the Ritz vector v).
        products: how many products with the matrix it took.
    """

    value: float
    error: float
    products: int


def largest_eigenvalue(
    product: Callable[[Float[Array, " size"]], Float[Array, " size"]],
    start: Float[Array, " size"],
    *,
    tolerance: float,
    cap: int,
) -> TopEigenvalue:
    """Lanczos' three-term recursion: three vectors are held, however many parameters there are.

    Vectors stay in their precision, inner products are summed in JAX's default one, float64 where that is on. Without
    reorthogonalisation eigenvalues come again once they have converged, which does not touch the largest.

    Args:
        product: A v.
        start: any vector that is not orthogonal to the eigenvector looked for; a random one is not.
        tolerance: stop once the error is below this share of the value.
        cap: products at most; what is reached by then is given with its error.
    """
    vector, norm = _normalised(start)
    previous, beta = jnp.zeros_like(vector), 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    value = error = float("nan")
    for _ in range(min(cap, start.size)):
        following, alpha, norm = _step(product(vector), vector, previous, jnp.asarray(beta))
        diagonal.append(float(alpha))
        beta = float(norm)
        if not np.isfinite(diagonal[-1] + beta):
            return TopEigenvalue(float("nan"), float("nan"), len(diagonal))
        value, last = _top_ritz(diagonal, beside)
        error = beta * last
        if error <= tolerance * abs(value):
            break
        beside.append(beta)
        previous, vector = vector, following
    return TopEigenvalue(value, error, len(diagonal))


def _top_ritz(diagonal: list[float], beside: list[float]) -> tuple[float, float]:
    """The largest eigenvalue of the tridiagonal matrix, and the size of its eigenvector's last entry."""
    if len(diagonal) == 1:
        return diagonal[0], 1.0
    last = len(diagonal) - 1
    values, vectors = eigh_tridiagonal(diagonal, beside, select="i", select_range=(last, last))
    return float(values[0]), float(abs(vectors[-1, 0]))


@jax.jit
def _normalised(vector: Float[Array, " size"]) -> tuple[Float[Array, " size"], Float[Array, ""]]:
    norm = jnp.sqrt(_inner(vector, vector))
    return vector / norm.astype(vector.dtype), norm


@jax.jit
def _step(
    product: Float[Array, " size"],
    vector: Float[Array, " size"],
    previous: Float[Array, " size"],
    beta: Float[Array, ""],
) -> tuple[Float[Array, " size"], Float[Array, ""], Float[Array, ""]]:
    rest = product - beta.astype(vector.dtype) * previous
    alpha = _inner(rest, vector)
    rest = rest - alpha.astype(vector.dtype) * vector
    norm = jnp.sqrt(_inner(rest, rest))
    return rest / jnp.where(norm > 0, norm, 1.0).astype(vector.dtype), alpha, norm


def _inner(first: Float[Array, " size"], second: Float[Array, " size"]) -> Float[Array, ""]:
    return jnp.sum(first.astype(float) * second.astype(float))
