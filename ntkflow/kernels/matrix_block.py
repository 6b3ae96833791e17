"""Block kernels whose three values are matrices over pairs of features: paper 3, Assumption D.1."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.kernels.block import BlockKernel, block_values
from ntkflow.kernels.operator import AbstractKernelOperator


class MatrixBlockKernel(AbstractKernelOperator):
    """Θʰ(x, x) = A_d + A_c + A_n, two samples of one class A_c + A_n, two classes A_n (paper 3, (71)).

    C classes of m samples each, sorted. As an operator on features × samples, X ↦ A_d X + A_c XYᵀY + A_n X11ᵀ: on the
    three eigenspaces of samples it is the multiplication from the left by A_d (within class), A_d + mA_c (class means)
    and A_d + mA_c + NA_n (global mean). Positive semi-definite exactly where those three are, which is weaker than the
    assumption's demand on A_d, A_c and A_n; measured ones may violate even that.

    Args:
        own: A_d.
        same_class: A_c.
        everywhere: A_n.
        classes: C.
        per_class: m.

    Raises:
        ValueError: a matrix that is not symmetric or not of the size of the others, or a size below 1.
    """

    own: Float[Array, "features features"]
    same_class: Float[Array, "features features"]
    everywhere: Float[Array, "features features"]
    classes: int = eqx.field(static=True)
    per_class: int = eqx.field(static=True)

    def __init__(
        self,
        own: Float[Array, "rows columns"],
        same_class: Float[Array, "rows2 columns2"],
        everywhere: Float[Array, "rows3 columns3"],
        *,
        classes: int,
        per_class: int,
    ) -> None:
        if classes < 1 or per_class < 1:
            raise ValueError(f"a block kernel needs classes >= 1 and per_class >= 1, not {classes} and {per_class}")
        for name, matrix in (("A_d", own), ("A_c", same_class), ("A_n", everywhere)):
            if matrix.shape != (own.shape[0], own.shape[0]):
                raise ValueError(
                    f"{name} must be {own.shape[0]} x {own.shape[0]} as A_d's rows say, not {matrix.shape}"
                )
            refuse_asymmetric(matrix, name)
        self.own = own
        self.same_class = same_class
        self.everywhere = everywhere
        self.classes = classes
        self.per_class = per_class

    @staticmethod
    def from_block(kernel: BlockKernel, features: int) -> MatrixBlockKernel:
        """Assumption 3.2 in this form: A_d = (κ_d − κ_c)I, A_c = (κ_c − κ_n)I, A_n = κ_n I."""
        values = kernel.lambda_single, kernel.same_class - kernel.different_class, kernel.different_class
        own, same, everywhere = (value * jnp.eye(features) for value in values)
        return MatrixBlockKernel(own, same, everywhere, classes=kernel.classes, per_class=kernel.per_class)

    @staticmethod
    def nearest(kernel: Float[Array, "features samples features samples"], classes: int) -> MatrixBlockKernel:
        """The nearest one, in Frobenius norm, to a whole Θʰ: for each pair of features the three block means.

        With one sample a class there is no pair within a class, and A_c is 0. Raises ``ValueError`` if the classes
        cannot all have one size.
        """
        diagonal, same, different = block_values(jnp.transpose(kernel, (0, 2, 1, 3)), classes)
        # Θ_pq(x, x') = Θ_qp(x', x), so the means are symmetric up to rounding; the average makes them so exactly.
        own, same, everywhere = (0.5 * (part + part.T) for part in (diagonal - same, same - different, different))
        return MatrixBlockKernel(own, same, everywhere, classes=classes, per_class=kernel.shape[1] // classes)

    @property
    def features(self) -> int:
        """n."""
        return self.own.shape[0]

    @property
    def samples(self) -> int:
        """N = C·m."""
        return self.classes * self.per_class

    @property
    def lambda_single(self) -> Float[Array, "features features"]:
        """A_d, what acts on the within-class space."""
        return self.own

    @property
    def lambda_class(self) -> Float[Array, "features features"]:
        """A_d + m A_c, what acts on class means of total zero."""
        return self.own + self.per_class * self.same_class

    @property
    def lambda_global(self) -> Float[Array, "features features"]:
        """A_d + m A_c + N A_n, what acts on the global mean."""
        return self.lambda_class + self.samples * self.everywhere

    @property
    def acting(self) -> list[Float[Array, "features features"]]:
        """Those of the three that act on a space of dimension above 0: not A_d if m = 1, not the class's if C = 1."""
        acts = self.per_class > 1, self.classes > 1, True
        matrices = self.lambda_single, self.lambda_class, self.lambda_global
        return [matrix for matrix, there in zip(matrices, acts, strict=True) if there]

    def apply(self, array: Float[Array, "features samples"]) -> Float[Array, "features samples"]:
        """The operator on one array over features and samples, in O(n²N)."""
        by_class = array.reshape(self.features, self.classes, self.per_class)
        class_sum = jnp.sum(by_class, axis=-1)
        shared = self.same_class @ class_sum + (self.everywhere @ jnp.sum(class_sum, axis=-1))[:, None]
        return self.own @ array + jnp.repeat(shared, self.per_class, axis=1)


def refuse_asymmetric(matrix: Float[Array, "rows columns"], name: str) -> None:
    """Raise ``ValueError`` if a square matrix differs from its transpose by more than 1e-12 of its largest entry.

    Says nothing about values that are not known yet, under ``jit`` and ``vmap``.
    """
    if isinstance(matrix, Tracer):
        return
    values = np.asarray(matrix)
    if (gap := np.max(np.abs(values - values.T), initial=0.0)) > 1e-12 * np.max(np.abs(values), initial=0.0):
        raise ValueError(f"{name} is not symmetric: it differs from its transpose by up to {gap:.3g}")
