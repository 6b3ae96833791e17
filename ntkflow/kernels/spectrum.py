"""The spectrum of a measured kernel beside the one of a block kernel: in each of the three eigenspaces, and between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import helmert

from ntkflow.kernels.block import block_values
from ntkflow.kernels.eigenspaces import EIGENSPACES
from ntkflow.kernels.requirements import class_size, refuse_not_finite, refuse_skewed


class SubspaceSpectrum(eqx.Module):
    """A kernel K seen from the eigenspaces of every block kernel: global mean, class means, within class.

    P_e are the orthogonal projectors on the three (``EIGENSPACES``; dimensions 1, C − 1, N − C). A space of dimension
    0, class means with C = 1 or within class with m = 1, has no eigenvalues, trace share 0 and effective rank 0.

    Attributes:
        global_mean: the eigenvalue of P_e K P_e on the constant vectors.
        class_means: its C − 1 eigenvalues on vectors constant on each class with mean 0, descending.
        within_class: its N − C eigenvalues on vectors with mean 0 on each class, descending.
        predicted: λ_global, λ_class, λ_single of the nearest block kernel (paper 3, Table 1). They are the means of the
            eigenvalues above, tr(P_e K)/dim e; without meaning for a space of dimension 0.
        trace_shares: tr(P_e K)/tr K; they add to 1.
        couplings: ‖P_e K P_f‖²_F/‖K‖²_F; the nine add to 1. Off the diagonal 0 for a block kernel.
        effective_ranks: of P_e K P_e, see :func:`effective_rank`.
    """

    global_mean: Float[Array, "*stack 1"]
    class_means: Float[Array, "*stack class_dimension"]
    within_class: Float[Array, "*stack within_dimension"]
    predicted: Float[Array, "*stack 3"]
    trace_shares: Float[Array, "*stack 3"]
    couplings: Float[Array, "*stack 3 3"]
    effective_ranks: Float[Array, "*stack 3"]

    @property
    def eigenvalues(self) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        """The eigenvalues in the three spaces, in the order of ``EIGENSPACES``."""
        return self.global_mean, self.class_means, self.within_class

    @property
    def coupled_share(self) -> Float[Array, "*stack"]:
        """The part of ‖K‖²_F between different eigenspaces: 0 for a block kernel."""
        return jnp.sum(self.couplings * (1 - np.eye(3, dtype=self.couplings.dtype)), axis=(-2, -1))

    def __str__(self) -> str:
        if self.predicted.ndim > 1:
            return repr(self)
        try:
            return "\n".join([f"SubspaceSpectrum(coupled share {float(self.coupled_share):.4g})", *self._lines()])
        except TypeError:
            return repr(self)

    def _lines(self) -> Iterator[str]:
        for index, (name, values) in enumerate(zip(EIGENSPACES, self.eigenvalues, strict=True)):
            if not values.size:
                yield f"  {name} (0): no such vectors"
                continue
            yield (
                f"  {name} ({values.size}): {float(values[0]):.4g} to {float(values[-1]):.4g}, "
                f"block value {float(self.predicted[index]):.4g}, trace share {float(self.trace_shares[index]):.4g}, "
                f"effective rank {float(self.effective_ranks[index]):.4g}"
            )


def subspace_spectrum(matrix: Float[Array, "*stack samples samples"], classes: int) -> SubspaceSpectrum:
    """Spectra, traces and couplings in the three eigenspaces, of one kernel or of each of a stack.

    K is written in an orthonormal basis adapted to the spaces (Helmert contrasts of samples within a class, then of
    classes), so that P_e K P_f is a block of the result. Eigenvalues cost O((N − C)³). A kernel that is 0 has no
    shares: NaN.

    Raises:
        ValueError: samples that cannot be sorted into classes of equal size, a kernel that is not finite or not
            symmetric.
    """
    class_size(matrix.shape[-1], classes)
    refuse_not_finite(matrix)
    refuse_skewed(matrix)
    return _subspace_spectrum(matrix, classes)


@eqx.filter_jit
def _subspace_spectrum(matrix: Float[Array, "*stack samples samples"], classes: int) -> SubspaceSpectrum:
    adapted = _in_eigenspaces(matrix, classes)
    edges = (0, 1, classes, matrix.shape[-1])
    spaces = [slice(low, high) for low, high in itertools.pairwise(edges)]
    squares = jnp.stack(
        [jnp.stack([jnp.sum(adapted[..., e, f] ** 2, axis=(-2, -1)) for f in spaces], axis=-1) for e in spaces], axis=-2
    )
    traces = jnp.stack([jnp.trace(adapted[..., e, e], axis1=-2, axis2=-1) for e in spaces], axis=-1)
    eigenvalues = [jnp.linalg.eigvalsh(adapted[..., e, e])[..., ::-1] for e in spaces]
    return SubspaceSpectrum(
        *eigenvalues,
        predicted=_block_eigenvalues(matrix, classes),
        trace_shares=traces / jnp.sum(traces, axis=-1, keepdims=True),
        couplings=squares / jnp.sum(squares, axis=(-2, -1), keepdims=True),
        effective_ranks=jnp.stack([effective_rank(values) for values in eigenvalues], axis=-1),
    )


def effective_rank(eigenvalues: Float[Array, "*stack dimension"]) -> Float[Array, "*stack"]:
    """exp(−Σᵢ pᵢ log pᵢ) with pᵢ = |λᵢ|/Σⱼ|λⱼ| (Roy, Vetterli 2007).

    k for a matrix with k equal eigenvalues and else zeros, between 1 and the rank otherwise; 0 for the zero matrix and
    for no eigenvalues.
    """
    sizes = jnp.abs(eigenvalues)
    total = jnp.sum(sizes, axis=-1, keepdims=True)
    shares = sizes / jnp.where(total > 0, total, 1.0)
    entropy = -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0)), axis=-1)
    return jnp.where(total[..., 0] > 0, jnp.exp(entropy), 0.0)


def participation_ratio(matrix: Float[Array, "*stack samples samples"]) -> Float[Array, "*stack"]:
    """(tr K)²/‖K‖²_F = (Σλ)²/Σλ²: another effective rank of a positive semi-definite K, that needs no eigenvalues.

    At most the one of :func:`effective_rank`. Raises ``ValueError`` where the kernel is not finite.
    """
    refuse_not_finite(matrix)
    return jnp.trace(matrix, axis1=-2, axis2=-1) ** 2 / jnp.sum(matrix**2, axis=(-2, -1))


def _in_eigenspaces(
    matrix: Float[Array, "*stack samples samples"], classes: int
) -> Float[Array, "*stack samples samples"]:
    """K in an orthonormal basis: the constant vector first, then C − 1 of the class means, then N − C within class."""
    samples = matrix.shape[-1]
    m = samples // classes
    of_samples, of_classes = (np.asarray(helmert(size, full=True), dtype=matrix.dtype) for size in (m, classes))
    by_class = matrix.reshape(*matrix.shape[:-2], classes, m, classes, m)
    # The contrast of samples comes first in the new index: its first row is the class sums. Mixing classes leaves the
    # contrasts within classes in their space.
    adapted = jnp.einsum("xi,ca,...aibj,yj,db->...xcyd", of_samples, of_classes, by_class, of_samples, of_classes)
    adapted = adapted.reshape(matrix.shape)
    return 0.5 * (adapted + jnp.swapaxes(adapted, -1, -2))


def _block_eigenvalues(matrix: Float[Array, "*stack samples samples"], classes: int) -> Float[Array, "*stack 3"]:
    samples = matrix.shape[-1]
    diagonal, same, different = block_values(matrix, classes)
    on_single = diagonal - same
    on_class = on_single + (samples // classes) * (same - different)
    return jnp.stack([on_class + samples * different, on_class, on_single], axis=-1)
