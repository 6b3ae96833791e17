"""How stiff a system is at one state: the outer eigenvalues of its Jacobian, without forming it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ntkflow.flows.solvers.krylov import arnoldi


class SpectrumEstimate(eqx.Module):
    """Outer eigenvalues of a Jacobian, by Arnoldi's method. All in units of 1/time of the vector field.

    For a symmetric Jacobian the radius and the rightmost eigenvalue are approached from below. All are estimates: an
    eigenvalue whose direction the start vector hardly contains can be missed, and where the Jacobian is far from
    normal, values between the outer ones can seem complex.

    Attributes:
        radius: the largest |λ|.
        rightmost: the largest Re λ; positive where the system expands.
        widest: the largest |Im λ|, near 0 for a gradient flow.
        residual: ‖Jv − λv‖/|λ| of the unit Ritz vector of the largest |λ|. There is an eigenvalue within this share of
            it if J is normal.
        products: how many products with the Jacobian this took.
    """

    radius: float
    rightmost: float
    widest: float
    residual: float
    products: int

    def explicit_steps(self, span: float) -> float:
        """How many steps the stability of Tsit5 demands for a time ``span``, were the Jacobian constant: ρ·span/3.2.

        The number of steps that accuracy demands is not in it.
        """
        return self.radius * abs(span) / TSIT5_REAL_INTERVAL

    def __str__(self) -> str:
        return (
            f"spectral radius {self.radius:.4g} (residual {self.residual:.1e} after {self.products} products), "
            f"largest real part {self.rightmost:.4g}, largest imaginary part {self.widest:.4g}"
        )


TSIT5_REAL_INTERVAL = 3.2
"""Tsit5 is stable for real λh down to about −3.5; rounded down, as steps near the limit are rejected."""


def estimate_spectrum(
    vector_field: Callable[[Any, Any, Any], Any],
    t: Float[Array, ""] | float,
    y: PyTree[Array],
    args: Any = None,
    *,
    products: int = 30,
) -> SpectrumEstimate:
    """Outer eigenvalues of ∂f/∂y at (t, y), from ``products`` directional derivatives (``jax.jvp``).

    Works on any device; the small eigenvalue problem is solved on the host at the end, so not inside ``jit``.

    Raises:
        ValueError: fewer than one product, a state without numbers, or a Jacobian that is not finite there.
    """
    size = sum(leaf.size for leaf in jax.tree.leaves(y))
    if products < 1 or size < 1:
        raise ValueError(f"need products >= 1 and a state with numbers in it, not {products} and {size}")
    hessenberg, built = _compiled(vector_field, t, y, args, products)
    k = int(built)
    h = np.asarray(hessenberg)
    if not np.isfinite(h).all():
        raise ValueError(f"the Jacobian of the vector field is not finite at t = {float(t):g}")
    values, vectors = np.linalg.eig(h[:k, :k])
    largest = int(np.argmax(np.abs(values)))
    radius = float(np.abs(values[largest]))
    # V_k is invariant up to h_{k+1,k} v_{k+1}.
    left = abs(float(h[k, k - 1])) * abs(complex(vectors[k - 1, largest])) if k < h.shape[0] else 0.0
    return SpectrumEstimate(
        radius=radius,
        rightmost=float(np.max(np.real(values))),
        widest=float(np.max(np.abs(np.imag(values)))),
        residual=left / radius if radius > 0 else 0.0,
        products=k,
    )


@eqx.filter_jit
def _compiled(vector_field: Any, t: Any, y: Any, args: Any, products: int) -> tuple[Array, Array]:
    flat, unravel = ravel_pytree(y)
    time = jnp.asarray(t, flat.dtype)

    def field(flat: Array) -> Array:
        return ravel_pytree(vector_field(time, unravel(flat), args))[0]

    _, derivative = jax.linearize(field, flat)
    # The same numbers in every run; normal ones have a part along every direction.
    start = jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)
    space = arnoldi(derivative, start, products)
    return space.hessenberg, space.built
