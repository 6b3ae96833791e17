"""Kernel regression at finite times from a few applications of a large kernel: Lanczos, with a bound on its error."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ntkflow.flows.spectral_factors import flow_sums
from ntkflow.kernels import TiledKernel

CHUNK = 16
"""Applications of the kernel between two looks at the error."""


class KrylovSpaces(NamedTuple):
    """Of every output the space of force, A force, A² force, …, A = Θ + ρ, in vectors that make A tridiagonal.

    Attributes:
        basis: v₁, v₂, …; 0 from where the space is invariant, and where nothing was computed yet.
        diagonal, off_diagonal: of the tridiagonal T.
        size: ‖force‖, and v₁ = force/‖force‖.
    """

    basis: Float[Array, "outputs vectors samples"]
    diagonal: Float[Array, "outputs steps"]
    off_diagonal: Float[Array, "outputs steps"]
    size: Float[Array, " outputs"]

    @classmethod
    def start(cls, force: Float[Array, "outputs samples"], steps: int) -> KrylovSpaces:
        """With room for so many steps."""
        size = jnp.linalg.norm(force, axis=1)
        basis = jnp.zeros((force.shape[0], steps + 1, force.shape[1]), force.dtype)
        unit = force / jnp.where(size > 0, size, 1.0)[:, None]
        diagonal, off_diagonal = (jnp.zeros((force.shape[0], steps), force.dtype) for _ in range(2))
        return cls(basis.at[:, 0].set(unit), diagonal, off_diagonal, size)


@eqx.filter_jit(donate="all-except-first")
def extended(
    operator: tuple[TiledKernel, Float[Array, ""]], spaces: KrylovSpaces, start: Int[Array, ""]
) -> KrylovSpaces:
    """``CHUNK`` more steps from step ``start`` on, orthogonalised twice against all vectors before.

    Args:
        operator: Θ and ρ.
        spaces: used up: its memory becomes the result's.
        start: how many steps there were.
    """
    kernel, ridge = operator

    def step(at: Int[Array, ""], spaces: KrylovSpaces) -> KrylovSpaces:
        basis = spaces.basis
        v = basis[:, at]
        w = kernel.apply(v) + ridge * v
        diagonal = jnp.sum(v * w, axis=1)
        length = jnp.linalg.norm(w, axis=1)
        for _ in range(2):
            w = w - jnp.einsum("cms,cm->cs", basis, jnp.einsum("cms,cs->cm", basis, w))
        beta = jnp.linalg.norm(w, axis=1)
        # What is left of an invariant space is rounding: its direction means nothing.
        there = beta > 10 * jnp.finfo(w.dtype).eps * length
        beta = jnp.where(there, beta, 0.0)
        unit = jnp.where(there[:, None], w / jnp.where(there, beta, 1.0)[:, None], 0.0)
        return KrylovSpaces(
            basis.at[:, at + 1].set(unit),
            spaces.diagonal.at[:, at].set(diagonal),
            spaces.off_diagonal.at[:, at].set(beta),
            spaces.size,
        )

    return lax.fori_loop(start, start + CHUNK, step, spaces)


class FlowCoefficients(NamedTuple):
    """a(t) = ∫₀ᵗ exp(−As/Z) ds/Z [force] in the Krylov spaces, and what they miss.

    Attributes:
        components: of a(t) along v₁, v₂, ….
        image: of A a(t), the first vector that T does not know included.
        escaping: β_m |a_m(t)|, the residual of ȧ = (force − A a)/Z times Z.
    """

    components: Float[Array, "times outputs steps"]
    image: Float[Array, "times outputs vectors"]
    escaping: Float[Array, "times outputs"]


@eqx.filter_jit
def coefficients_at(
    spaces: KrylovSpaces, steps: Int[Array, ""], times: Float[Array, " times"], loss_scale: Float[Array, ""]
) -> FlowCoefficients:
    """From the first so many steps; the others have no part in it."""
    room = spaces.diagonal.shape[1]
    inside = jnp.arange(room) < steps
    off = jnp.where(jnp.arange(room) < steps - 1, spaces.off_diagonal, 0.0)
    # Where the kernel was not applied T is 0 and coupled to nothing.
    tridiagonal = jax.vmap(lambda d, o: jnp.diag(d) + jnp.diag(o[:-1], 1) + jnp.diag(o[:-1], -1))(
        jnp.where(inside, spaces.diagonal, 0.0), off
    )
    values, vectors = jnp.linalg.eigh(tridiagonal)
    first = vectors[:, 0] * spaces.size[:, None]

    def at(time: Float[Array, ""]) -> FlowCoefficients:
        components = jnp.einsum("cij,cj->ci", vectors, flow_sums(values / loss_scale, time) / loss_scale * first)
        last = spaces.off_diagonal[:, steps - 1] * components[:, steps - 1]
        image = jnp.einsum("cij,cj->ci", tridiagonal, components)
        image = jnp.pad(image, ((0, 0), (0, 1))).at[:, steps].add(last)
        return FlowCoefficients(components, image, jnp.abs(last))

    return lax.map(at, times)
