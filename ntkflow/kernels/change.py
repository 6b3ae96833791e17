"""How a kernel changes during training: in norm, in direction, and in its leading eigenvectors."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.requirements import class_size, refuse_not_finite, refuse_skewed


def relative_change(
    later: Float[Array, "*stack samples samples"], initial: Float[Array, "*#stack samples samples"]
) -> Float[Array, "*stack"]:
    """‖Kᵗ − K⁰‖_F/‖K⁰‖_F (paper 1, Fig. 4), for one kernel or a stack of times against one K⁰.

    0 for the lazy regime; a change of scale alone counts. NaN where K⁰ is 0. Raises ``ValueError`` where one is not
    finite.
    """
    refuse_not_finite(later, "the later kernel")
    refuse_not_finite(initial, "the initial kernel")
    return jnp.linalg.norm(later - initial, axis=(-2, -1)) / jnp.linalg.norm(initial, axis=(-2, -1))


def kernel_distance(
    later: Float[Array, "*stack samples samples"], initial: Float[Array, "*#stack samples samples"]
) -> Float[Array, "*stack"]:
    """1 − ⟨Kᵗ, K⁰⟩_F/(‖Kᵗ‖_F ‖K⁰‖_F), the kernel distance of Fort et al. 2020: blind to a change of scale.

    Computed as ‖u − v‖²/2 of the normalised kernels, so that a small distance keeps its digits. NaN where one is 0.
    Raises ``ValueError`` where one is not finite.
    """
    refuse_not_finite(later, "the later kernel")
    refuse_not_finite(initial, "the initial kernel")
    u, v = (kernel / jnp.linalg.norm(kernel, axis=(-2, -1), keepdims=True) for kernel in (later, initial))
    return 0.5 * jnp.sum((u - v) ** 2, axis=(-2, -1))


class TopEigenspace(eqx.Module):
    """The span of a kernel's r leading eigenvectors.

    Attributes:
        basis: orthonormal columns, the largest eigenvalue first.
        eigenvalues: theirs, descending.
        gap: (λ_r − λ_{r+1})/λ_1. Where it is 0 the space is not determined by the kernel, and where it is small a small
            change of the kernel turns it far (Davis, Kahan 1970). λ_{r+1} = 0 where r = N.
    """

    basis: Float[Array, "*stack samples rank"]
    eigenvalues: Float[Array, "*stack rank"]
    gap: Float[Array, "*stack"]


def top_eigenspace(matrix: Float[Array, "*stack samples samples"], rank: int) -> TopEigenspace:
    """The ``rank`` leading eigenvectors of a symmetric kernel, or of each of a stack.

    Raises:
        ValueError: a rank that is not between 1 and the number of samples, or a kernel not finite or not symmetric.
    """
    samples = matrix.shape[-1]
    if not 1 <= rank <= samples:
        raise ValueError(f"the rank must be between 1 and the {samples} samples, not {rank}")
    refuse_not_finite(matrix)
    refuse_skewed(matrix)
    return _top_eigenspace(matrix, rank)


@eqx.filter_jit
def _top_eigenspace(matrix: Float[Array, "*stack samples samples"], rank: int) -> TopEigenspace:
    samples = matrix.shape[-1]
    values, vectors = jnp.linalg.eigh(0.5 * (matrix + jnp.swapaxes(matrix, -1, -2)))
    descending = values[..., ::-1]
    following = descending[..., rank] if rank < samples else jnp.zeros_like(descending[..., 0])
    return TopEigenspace(
        basis=vectors[..., ::-1][..., :rank],
        eigenvalues=descending[..., :rank],
        gap=(descending[..., rank - 1] - following) / descending[..., 0],
    )


class EigenspaceRotation(eqx.Module):
    """How far one r-dimensional space is turned against another: U and V with orthonormal columns.

    Attributes:
        angles: the r principal angles in radians, 0 to π/2, descending (Björck, Golub 1973).
        overlap: ‖UᵀV‖²_F/r, the mean of their squared cosines: 1 for the same space, r/N on average for unrelated ones.
    """

    angles: Float[Array, "*stack rank"]
    overlap: Float[Array, "*stack"]

    @property
    def largest_angle(self) -> Float[Array, "*stack"]:
        """The largest principal angle."""
        return self.angles[..., 0]

    @property
    def mean_angle(self) -> Float[Array, "*stack"]:
        """The mean of the principal angles."""
        return jnp.mean(self.angles, axis=-1)


@eqx.filter_jit
def eigenspace_rotation(
    later: Float[Array, "*stack samples rank"], initial: Float[Array, "*#stack samples rank"]
) -> EigenspaceRotation:
    """Principal angles and overlap of two spaces, or of a stack against one; orthonormal bases as columns.

    A cosine alone loses angles below the root of the precision, a sine those near π/2; each angle comes from both.
    """
    product = jnp.swapaxes(later, -1, -2) @ initial
    cosines = jnp.linalg.svd(product, compute_uv=False)
    sines = jnp.linalg.svd(initial - later @ product, compute_uv=False)
    angles = jnp.arctan2(sines, cosines[..., ::-1])
    return EigenspaceRotation(angles, jnp.sum(product**2, axis=(-2, -1)) / later.shape[-1])


def kernel_rotation(
    later: Float[Array, "*stack samples samples"], initial: Float[Array, "samples samples"], rank: int
) -> EigenspaceRotation:
    """Rotation of the span of the ``rank`` leading eigenvectors between two kernels, or of a stack against one.

    Look at :attr:`TopEigenspace.gap` too. Raises ``ValueError`` as :func:`top_eigenspace`.
    """
    return eigenspace_rotation(top_eigenspace(later, rank).basis, top_eigenspace(initial, rank).basis)


def class_space_overlap(matrix: Float[Array, "*stack samples samples"], classes: int) -> Float[Array, "*stack"]:
    """‖UᵀV‖²_F/C of the C leading eigenvectors U with the span V of the C class indicators.

    1 where the leading eigenvectors are constant on classes, as for a block kernel with c > n ≥ 0; C/N on average for a
    random C-dimensional space. Samples sorted by class.

    Raises:
        ValueError: samples that cannot be sorted into classes of equal size, or as :func:`top_eigenspace`.
    """
    m = class_size(matrix.shape[-1], classes)
    basis = top_eigenspace(matrix, classes).basis
    means = basis.reshape(*basis.shape[:-2], classes, m, classes).sum(axis=-2) / m**0.5
    return jnp.sum(means**2, axis=(-2, -1)) / classes
