"""Coordinates that a block flow never leaves: fewer features, and fewer columns for what is within the classes."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.flows.states import ClassState, SampleState, within_basis

_NEGLIGIBLE = 1e-13
"""A direction is dropped only if all of the state outside the kept ones is below this share of it."""


class Frame(eqx.Module):
    """The map between a state in few coordinates and single samples: H = V(H₁Y + √m F P), W = ŴVᵀ.

    Under (25) the rows of Ẇ lie in the span of the features, and Ḣ in the row space of W: everything stays in the span
    V of both at the start. Within the classes only H₂ → ΦH₂ happens, with one n×n matrix Φ for all samples. So a factor
    F with FFᵀ = S = H₂H₂ᵀ moves as H₂ does, and H₂(0) = F(0)P gives back every sample at every time. Nothing of this is
    an approximation, and after it nothing depends on N.

    Attributes:
        directions: V, orthonormal columns in feature space.
        samples: P, orthonormal rows over the N samples; None where single samples are not wanted. Their sum over every
            class is zero, except of rows that only meet zeros of F (where S has less than its largest rank).
    """

    directions: Float[Array, "features dims"]
    samples: Float[Array, "rank samples"] | None

    def class_state(self, state: ClassState) -> ClassState:
        """The state in feature space; ``within`` keeps the columns of F: the scatter of H₂, not its shape."""
        v = self.directions
        return ClassState(v @ state.class_means, v @ state.within, state.weight @ v.T, state.bias)

    def sample_state(self, state: ClassState) -> SampleState:
        """H, W, b with every sample.

        Raises:
            ValueError: single samples were given up when the frame was made.
        """
        if self.samples is None:
            raise ValueError("single samples were not kept; ask for them with samples=True")
        classes = state.class_means.shape[1]
        m = self.samples.shape[1] // classes
        features = jnp.repeat(state.class_means, m, axis=1) + jnp.sqrt(m) * (state.within @ self.samples)
        return SampleState(self.directions @ features, state.weight @ self.directions.T, state.bias)


def within_class(state: SampleState, classes: int) -> Float[Array, "features samples"]:
    """Each sample's features minus the mean of its class. Raises ``ValueError`` if the classes cannot have one size."""
    neurons, samples = state.features.shape
    if samples % classes:
        raise ValueError(f"{samples} samples cannot be sorted into {classes} classes of equal size")
    by_class = state.features.reshape(neurons, classes, samples // classes)
    return (by_class - jnp.mean(by_class, axis=-1, keepdims=True)).reshape(neurons, samples)


def compress(
    state: SampleState, classes: int, *, samples: bool = True, all_directions: bool = False
) -> tuple[Frame, ClassState]:
    """The fewest coordinates that hold a state exactly, and the state in them.

    Directions of feature space are dropped where features and weights are zero up to rounding (1e-13 of them); the
    within-class part gets as many columns as it can have rank.

    Args:
        state: H, W, b.
        classes: C.
        samples: whether single samples can be had again from the frame.
        all_directions: drop none. How many are dropped depends on the numbers, so that only with this the function
            works under ``jit`` and ``vmap``.

    Raises:
        ValueError: the samples cannot be sorted into classes of one size.
    """
    away = within_class(state, classes)
    m = away.shape[1] // classes
    means = jnp.mean(state.features.reshape(-1, classes, m), axis=-1)
    directions = jnp.eye(away.shape[0]) if all_directions else _directions(means, away, state.weight)
    inside = directions.T @ away / jnp.sqrt(m)
    factor, rows = _factor(inside, classes, keep=samples)
    frame = Frame(directions, rows)
    return frame, ClassState(directions.T @ means, factor, state.weight @ directions, state.bias)


def _directions(
    means: Float[Array, "features classes"],
    away: Float[Array, "features samples"],
    weight: Float[Array, "out features"],
) -> Float[Array, "features dims"]:
    """An orthonormal basis of the span of all features and of the rows of W; the identity if that is everything."""
    parts = [part for part in (weight.T, means, away) if float(jnp.linalg.norm(part)) > 0]
    n = weight.shape[1]
    if not parts:
        return jnp.eye(n)
    if sum(part.shape[1] for part in parts) < n:
        # More features than columns that there are: their span first, and the rest within it.
        span = jnp.linalg.qr(jnp.concatenate([part / jnp.linalg.norm(part) for part in parts], axis=1))[0]
        return span @ _directions(span.T @ means, span.T @ away, weight @ span)
    # From the Gram matrix, cheap for many samples; it only sees the squares, so that a direction is dropped only
    # after the parts themselves were found to have nothing there.
    gram = sum(part @ part.T / jnp.sum(part**2) for part in parts)
    values, vectors = jnp.linalg.eigh(gram)
    basis = vectors[:, int(np.sum(np.asarray(values) <= n * 1e-16 * float(values[-1]))) :]
    if basis.shape[1] == n:
        return jnp.eye(n)
    left_out = [float(jnp.linalg.norm(part - basis @ (basis.T @ part)) / jnp.linalg.norm(part)) for part in parts]
    return basis if max(left_out) <= _NEGLIGIBLE else jnp.eye(n)


def _factor(
    inside: Float[Array, "dims samples"], classes: int, *, keep: bool
) -> tuple[Float[Array, "dims rank"], Float[Array, "rank samples"] | None]:
    """F and P with FP = ``inside``: as many columns as there can be, min(dims, N − C)."""
    dims, samples = inside.shape
    m = samples // classes
    if dims >= classes * (m - 1):
        # As few samples as dimensions: the basis of all that sums to zero over every class is known, and F is H₂.
        basis = within_basis(m)
        factor = jnp.einsum("pci,ji->pcj", inside.reshape(dims, classes, m), basis).reshape(dims, classes * (m - 1))
        return factor, jnp.kron(jnp.eye(classes), basis) if keep else None
    rows, triangle = jax.lax.linalg.qr(inside.T, full_matrices=False)
    return triangle.T, rows.T if keep else None
