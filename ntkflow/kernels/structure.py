"""How much of a kernel each assumption about its structure keeps: shares of its squared norm, and what is left over.

Every structure here is a linear space of kernels, so the nearest one is an orthogonal projection P, made of means, and
‖K‖² = ‖P(K)‖² + ‖K − P(K)‖². The share ‖P(K)‖²_F/‖K‖²_F is 1 where K has the structure. A kernel that is 0 has none:
NaN. Samples are sorted by class, all classes of one size, except where sizes are an argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.block import block_values
from ntkflow.kernels.class_block import ClassBlockKernel
from ntkflow.kernels.requirements import class_size, refuse_not_finite


def block_share(matrix: Float[Array, "*stack samples samples"], classes: int) -> Float[Array, "*stack"]:
    """‖P(K)‖²_F/‖K‖²_F with P(K) the nearest block kernel (paper 3, Definition 3.1), of one kernel or of each of many.

    Raises:
        ValueError: samples that cannot be sorted into classes of equal size, or a kernel that is not finite.
    """
    refuse_not_finite(matrix)
    return _block_squares(matrix, classes) / jnp.sum(matrix**2, axis=(-2, -1))


def class_block_share(matrix: Float[Array, "*stack samples samples"], sizes: Sequence[int]) -> Float[Array, "*stack"]:
    """The share that values of their own for every class and pair of classes keep (:class:`ClassBlockKernel`).

    Args:
        matrix: one kernel or a stack.
        sizes: m_c of each class, which may differ.

    Raises:
        ValueError: sizes that do not add up to the samples, or a kernel that is not finite.
    """
    refuse_not_finite(matrix)
    counts = np.asarray(sizes, dtype=matrix.dtype)
    pair_counts = np.outer(counts, counts) - np.diag(counts)

    def squares(matrix: Float[Array, "samples samples"]) -> Float[Array, ""]:
        nearest = ClassBlockKernel.nearest(matrix, sizes)
        return jnp.sum(counts * nearest.diagonal**2) + jnp.sum(pair_counts * nearest.pairs**2)

    stack, samples = matrix.shape[:-2], matrix.shape[-1]
    kept = jax.vmap(squares)(matrix.reshape(-1, samples, samples)).reshape(stack)
    return kept / jnp.sum(matrix**2, axis=(-2, -1))


class StructureShares(eqx.Module):
    """Shares of ‖Θ‖²_F over all pairs (neuron, sample) that are left as the assumptions are made one by one.

    Attributes:
        neuron_diagonal: Θ_{p,q} = 0 for p ≠ q; every pair of samples kept.
        isotropic: that, and one kernel for all neurons, their mean.
        matrix_blocks: three matrices over pairs of neurons (paper 3, Assumption D.1); pairs p ≠ q kept.
        neuron_blocks: three values for each neuron, p ≠ q at 0.
        three_values: three values for all neurons, paper 3's Assumption 3.2. At most the smallest of the others.
    """

    neuron_diagonal: Float[Array, ""]
    isotropic: Float[Array, ""]
    matrix_blocks: Float[Array, ""]
    neuron_blocks: Float[Array, ""]
    three_values: Float[Array, ""]

    def __str__(self) -> str:
        try:
            shown = [f"{name} {float(value):.4g}" for name, value in vars(self).items()]
        except TypeError:
            return repr(self)
        return "StructureShares(" + ", ".join(shown) + ")"


def structure_shares(kernel: Float[Array, "neurons samples neurons samples"], classes: int) -> StructureShares:
    """The shares of a whole kernel, Θ over outputs or Θʰ over features, with all pairs of neurons.

    Raises:
        ValueError: as :func:`block_share`.
    """
    class_size(kernel.shape[1], classes)
    refuse_not_finite(kernel)
    return _structure_shares(kernel, classes)


@eqx.filter_jit
def _structure_shares(kernel: Float[Array, "neurons samples neurons samples"], classes: int) -> StructureShares:
    total, neurons = jnp.sum(kernel**2), kernel.shape[0]
    own = jnp.einsum("pipj->pij", kernel)
    mean = jnp.mean(own, axis=0)
    return StructureShares(
        neuron_diagonal=jnp.sum(own**2) / total,
        isotropic=neurons * jnp.sum(mean**2) / total,
        matrix_blocks=jnp.sum(_block_squares(jnp.transpose(kernel, (0, 2, 1, 3)), classes)) / total,
        neuron_blocks=jnp.sum(_block_squares(own, classes)) / total,
        three_values=neurons * _block_squares(mean, classes) / total,
    )


def nearest_block_matrix(
    matrix: Float[Array, "*stack samples samples"], classes: int
) -> Float[Array, "*stack samples samples"]:
    """P(K), the nearest block kernel as a dense matrix: K − P(K) is the map of what a block structure misses.

    Raises:
        ValueError: as :func:`block_share`.
    """
    m = class_size(matrix.shape[-1], classes)
    refuse_not_finite(matrix)
    diagonal, same, different = block_values(matrix, classes)[..., None, None]
    labels = np.arange(matrix.shape[-1]) // m
    of_class = jnp.where(labels[:, None] == labels[None, :], same, different)
    return jnp.where(np.eye(matrix.shape[-1], dtype=bool), diagonal, of_class)


def pair_norms(kernel: Float[Array, "neurons samples neurons samples"]) -> Float[Array, "neurons neurons"]:
    """‖Θ_{k,s}(X)‖_F for all pairs of neurons (paper 3, Fig. 1 c–d). Raises ``ValueError`` where it is not finite."""
    refuse_not_finite(kernel)
    return jnp.sqrt(jnp.sum(kernel**2, axis=(1, 3)))


def _block_squares(matrix: Float[Array, "*stack samples samples"], classes: int) -> Float[Array, "*stack"]:
    """‖P(K)‖²_F: the squared block values times the numbers of entries that have them."""
    samples = matrix.shape[-1]
    m = class_size(samples, classes)
    diagonal, same, different = block_values(matrix, classes)
    return samples * (diagonal**2 + (m - 1) * same**2 + (samples - m) * different**2)
