"""How far a kernel is the labels' own, and how far two kernels agree: alignments, plain and centred.

An alignment is the cosine between two matrices, ⟨A, B⟩_F/(‖A‖_F ‖B‖_F), over all pairs of samples, the diagonal
included. Samples are sorted by class, all C classes of one size m; Y is the C×N matrix of one-hot labels, so that the
thesis' YYᵀ is YᵀY here. A kernel that is 0, as that of a dead feature, has no alignment: NaN.

With (2.63) a kernel blind to the labels does not score 0: 11ᵀ has 1/√C and the identity 1/√m. Centred alignment
(Cortes, Mohri, Rostamizadeh 2012) takes the mean over samples out of both first; 11ᵀ is then left out altogether.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.requirements import class_size, refuse_not_finite


def label_alignment(matrix: Float[Array, "*stack samples samples"], classes: int) -> Float[Array, "*stack"]:
    """Kernel–label alignment ⟨K, YᵀY⟩_F / (‖K‖_F ‖YᵀY‖_F), thesis (2.63), of one kernel or of each of a stack.

    Between −1 and 1, and at least 0 where K is positive semi-definite.

    Raises:
        ValueError: samples that cannot be sorted into classes of equal size, or a kernel that is not finite.
    """
    m = class_size(matrix.shape[-1], classes)
    refuse_not_finite(matrix)
    return _same_class_sum(matrix, classes) / (_norm(matrix) * m * classes**0.5)


def centred_label_alignment(matrix: Float[Array, "*stack samples samples"], classes: int) -> Float[Array, "*stack"]:
    """⟨PKP, YᵀY⟩_F / (‖PKP‖_F ‖P YᵀY P‖_F) with P = I − 11ᵀ/N: centred alignment with the labels.

    P YᵀY P is m times the projector on the class means, so this is the trace of K over the space of the class means,
    divided by √(C−1) ‖PKP‖_F.

    Raises:
        ValueError: as :func:`label_alignment`, and with one class, whose labels are constant.
    """
    m = class_size(matrix.shape[-1], classes)
    if classes < 2:
        raise ValueError("centred alignment needs at least 2 classes: the labels of one class are constant")
    centre = centred_kernel(matrix)
    return _same_class_sum(centre, classes) / (_norm(centre) * m * (classes - 1) ** 0.5)


def own_class_alignment(kernels: Float[Array, "classes samples samples"]) -> Float[Array, " classes"]:
    """Alignment of each output's kernel Θ_{k,k} with its own class: y_kᵀ Θ_{k,k} y_k / (m ‖Θ_{k,k}‖_F).

    y_k is the k-th row of Y. 1 where output k's kernel lives on class k alone. Under paper 3's Assumption 3.2 all
    outputs have the same kernel, blind to which class is theirs, and every value is at most 1/√C.

    Raises:
        ValueError: as :func:`label_alignment`; there are as many classes as kernels.
    """
    classes, samples = kernels.shape[:2]
    m = class_size(samples, classes)
    refuse_not_finite(kernels)
    own = jnp.einsum("aaiaj->a", kernels.reshape(classes, classes, m, classes, m))
    return own / (_norm(kernels) * m)


def kernel_alignment(
    first: Float[Array, "*stack samples samples"], second: Float[Array, "*#stack samples samples"]
) -> Float[Array, "*stack"]:
    """⟨K, K'⟩_F / (‖K‖_F ‖K'‖_F), the cosine between two kernels; ``second`` may be one for a whole stack.

    Cristianini et al. 2001. Raises ``ValueError`` where one is not finite.
    """
    refuse_not_finite(first, "the first kernel")
    refuse_not_finite(second, "the second kernel")
    product = jnp.sum(first * second, axis=(-2, -1))
    return product / (_norm(first) * _norm(second))


def centred_kernel_alignment(
    first: Float[Array, "*stack samples samples"], second: Float[Array, "*#stack samples samples"]
) -> Float[Array, "*stack"]:
    """The alignment of PKP and PK'P, P = I − 11ᵀ/N (Cortes et al. 2012; as CKA in Kornblith et al. 2019)."""
    return kernel_alignment(centred_kernel(first), centred_kernel(second))


def centred_kernel(matrix: Float[Array, "*stack samples samples"]) -> Float[Array, "*stack samples samples"]:
    """PKP with P = I − 11ᵀ/N: the kernel of the gradients with their mean over the samples taken off.

    Raises ``ValueError`` where the kernel is not finite.
    """
    refuse_not_finite(matrix)
    rows = matrix - jnp.mean(matrix, axis=-1, keepdims=True)
    return rows - jnp.mean(rows, axis=-2, keepdims=True)


def _same_class_sum(matrix: Float[Array, "*stack samples samples"], classes: int) -> Float[Array, "*stack"]:
    m = matrix.shape[-1] // classes
    return jnp.einsum("...aiaj->...", matrix.reshape(*matrix.shape[:-2], classes, m, classes, m))


def _norm(matrix: Float[Array, "*stack samples samples"]) -> Float[Array, "*stack"]:
    return jnp.linalg.norm(matrix, axis=(-2, -1))
