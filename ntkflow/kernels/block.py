"""The block-structured kernel of paper 3 (Definition 3.1) as an operator, never as a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class BlockKernel(eqx.Module):
    """K = (d−c) I + (c−n) YᵀY + n 11ᵀ over N = C·m samples sorted by class (paper 3, Definition 3.1, Table 1).

    Y is the C×N matrix of one-hot labels. The values may violate the order d > c > n ≥ 0 of the definition, as
    measured ones do; K is positive semi-definite exactly where the three eigenvalues are at least 0. Every function of
    K is again a block kernel, found from the eigenvalues in O(1), and applying one costs O(N).

    Args:
        diagonal: d, value on a sample and itself.
        same_class: c, value on two distinct samples of one class.
        different_class: n, value on samples of two classes.
        classes: C ≥ 1.
        per_class: m ≥ 1. With m = 1 there is no within-class space and c is without effect.

    Raises:
        ValueError: where a size is below 1.
    """

    diagonal: Float[Array, ""]
    same_class: Float[Array, ""]
    different_class: Float[Array, ""]
    classes: int = eqx.field(static=True)
    per_class: int = eqx.field(static=True)

    def __init__(
        self,
        diagonal: float | Float[Array, ""],
        same_class: float | Float[Array, ""],
        different_class: float | Float[Array, ""],
        *,
        classes: int,
        per_class: int,
    ) -> None:
        if classes < 1 or per_class < 1:
            raise ValueError(f"a block kernel needs classes >= 1 and per_class >= 1, not {classes} and {per_class}")
        self.diagonal = jnp.asarray(diagonal, dtype=float)
        self.same_class = jnp.asarray(same_class, dtype=float)
        self.different_class = jnp.asarray(different_class, dtype=float)
        self.classes = classes
        self.per_class = per_class

    @classmethod
    def from_eigenvalues(
        cls,
        *,
        global_mean: float | Float[Array, ""],
        class_means: float | Float[Array, ""],
        within_class: float | Float[Array, ""],
        classes: int,
        per_class: int,
    ) -> BlockKernel:
        """The block kernel with the given eigenvalues on the three eigenspaces (Table 1, solved for d, c, n)."""
        different = (global_mean - class_means) / (classes * per_class)
        same = different + (class_means - within_class) / per_class
        return cls(same + within_class, same, different, classes=classes, per_class=per_class)

    @property
    def samples(self) -> int:
        """N = C·m."""
        return self.classes * self.per_class

    @property
    def lambda_single(self) -> Float[Array, ""]:
        """Eigenvalue d − c of the within-class space."""
        return self.diagonal - self.same_class

    @property
    def lambda_class(self) -> Float[Array, ""]:
        """Eigenvalue d − c + m (c − n) of the class means."""
        return self.lambda_single + self.per_class * (self.same_class - self.different_class)

    @property
    def lambda_global(self) -> Float[Array, ""]:
        """Eigenvalue d − c + m (c − n) + N n of the global mean."""
        return self.lambda_class + self.samples * self.different_class

    @property
    def alpha(self) -> Float[Array, ""]:
        """α of the invariant (26): n m / (λ_class + C n m), so that (I + (n m/λ_class) 11ᵀ)⁻¹ = I − α 11ᵀ."""
        return self.different_class * self.per_class / self.lambda_global

    @property
    def eigenvalues(self) -> Float[Array, "3"]:
        """The eigenvalues of the global mean, the class means, and the within-class space."""
        return jnp.stack([self.lambda_global, self.lambda_class, self.lambda_single])

    @property
    def multiplicities(self) -> tuple[int, int, int]:
        """Dimensions of the three eigenspaces: 1, C − 1, N − C."""
        return 1, self.classes - 1, self.samples - self.classes

    def apply(self, array: Float[Array, "*rows samples"]) -> Float[Array, "*rows samples"]:
        """``array @ K`` in O(N) a row; K is symmetric, so for one row this is K times the vector."""
        # The three terms of the definition rather than the eigenspaces: fewer passes over the array.
        by_class = array.reshape(*array.shape[:-1], self.classes, self.per_class)
        class_sum = jnp.sum(by_class, axis=-1, keepdims=True)
        total = jnp.sum(class_sum, axis=-2, keepdims=True)
        result = (
            self.lambda_single * by_class
            + (self.same_class - self.different_class) * class_sum
            + self.different_class * total
        )
        return result.reshape(array.shape)

    def function(self, function: Callable[[Float[Array, "3"]], Float[Array, "3"]]) -> BlockKernel:
        """The block kernel f(K): ``function`` acts on the three eigenvalues, in the order of ``eigenvalues``."""
        on_global, on_class, on_single = function(self.eigenvalues)
        # An eigenspace of dimension 0 has no say: what f is there, NaN perhaps, must not reach the others.
        on_class = on_global if self.classes == 1 else on_class
        on_single = on_class if self.per_class == 1 else on_single
        return BlockKernel.from_eigenvalues(
            global_mean=on_global,
            class_means=on_class,
            within_class=on_single,
            classes=self.classes,
            per_class=self.per_class,
        )

    def exponential(self, time: float | Float[Array, ""]) -> BlockKernel:
        """exp(−t K), exact."""
        return self.function(lambda eigenvalues: jnp.exp(-time * eigenvalues))

    def integrated_exponential(self, time: float | Float[Array, ""]) -> BlockKernel:
        """∫₀ᵗ exp(−s K) ds = (I − exp(−t K)) K⁻¹, which stays finite (t) where an eigenvalue is 0."""

        def integral(eigenvalues: Float[Array, "3"]) -> Float[Array, "3"]:
            # t·φ₁(x) with x = −tλ and φ₁(x) = (eˣ − 1)/x: by its series near 0, where the quotient is 0/0.
            x = -time * eigenvalues
            near = jnp.abs(x) < 1e-4
            safe = jnp.where(near, 1.0, x)
            return time * jnp.where(near, 1 + x / 2 + x**2 / 6 + x**3 / 24, jnp.expm1(safe) / safe)

        return self.function(integral)

    def square_root(self) -> BlockKernel:
        """The positive semi-definite square root. NaN where an eigenvalue is negative."""
        return self.function(jnp.sqrt)

    def inverse(self) -> BlockKernel:
        """K⁻¹. Infinite or NaN where an eigenvalue is 0: use :meth:`pseudo_inverse` there."""
        return self.function(lambda eigenvalues: 1 / eigenvalues)

    def pseudo_inverse(self) -> BlockKernel:
        """The Moore–Penrose inverse: eigenvalues that are 0 up to rounding stay 0.

        That is, those below N times the machine precision times the largest, as in ``numpy.linalg.matrix_rank``.
        """

        def invert(eigenvalues: Float[Array, "3"]) -> Float[Array, "3"]:
            size = jnp.abs(eigenvalues)
            zero = size <= self.samples * jnp.finfo(eigenvalues.dtype).eps * jnp.max(size)
            return jnp.where(zero, 0.0, 1 / jnp.where(zero, 1.0, eigenvalues))

        return self.function(invert)

    def trace(self) -> Float[Array, ""]:
        """Sum over the N samples of K's diagonal."""
        return self.samples * self.diagonal

    def frobenius_norm(self) -> Float[Array, ""]:
        """‖K‖_F from the eigenvalues and their multiplicities."""
        return jnp.sqrt(jnp.sum(jnp.asarray(self.multiplicities, dtype=float) * self.eigenvalues**2))

    def as_matrix(self) -> Float[Array, "samples samples"]:
        """K as a dense N×N array, for tests and pictures."""
        return self.apply(jnp.eye(self.samples))

    @classmethod
    def nearest(cls, matrix: Float[Array, "samples samples"], classes: int) -> BlockKernel:
        """The block kernel nearest to a symmetric matrix in Frobenius norm: means over diagonal, same class, other
        class.

        With one sample a class there is no pair within a class; ``same_class`` is then set equal to
        ``different_class``.
        """
        diagonal, same, different = block_values(matrix, classes)
        return cls(diagonal, same, different, classes=classes, per_class=matrix.shape[-1] // classes)

    def __str__(self) -> str:
        # Concrete values only: a traced kernel prints its abstract values through eqx's repr.
        sizes = f"C={self.classes}, m={self.per_class}"
        try:
            values = [float(item) for item in (self.diagonal, self.same_class, self.different_class)]
            eigenvalues = [float(item) for item in self.eigenvalues]
        except TypeError:
            return repr(self)
        return (
            f"BlockKernel(d={values[0]:.6g}, c={values[1]:.6g}, n={values[2]:.6g}; {sizes})\n"
            f"  eigenvalues: global {eigenvalues[0]:.6g} (1), class {eigenvalues[1]:.6g} ({self.multiplicities[1]}), "
            f"single {eigenvalues[2]:.6g} ({self.multiplicities[2]})"
        )


def block_values(matrix: Float[Array, "*stack samples samples"], classes: int) -> Float[Array, "3 *stack"]:
    """Means of a kernel matrix, or of each of a stack, over its diagonal, pairs of one class, and pairs of two classes.

    With one sample a class there is no pair within a class, and the second value is set equal to the third. Raises
    ``ValueError`` if the classes cannot all have one size.
    """
    samples = matrix.shape[-1]
    if samples % classes:
        raise ValueError(f"{samples} samples cannot be sorted into {classes} classes of equal size")
    m = samples // classes
    by_block = matrix.reshape(*matrix.shape[:-2], classes, m, classes, m)
    diagonal = jnp.trace(matrix, axis1=-2, axis2=-1)
    blocks = jnp.einsum("...aiaj->...", by_block)
    total = jnp.sum(matrix, axis=(-2, -1))
    different = (total - blocks) / max(samples * (samples - m), 1)
    same = (blocks - diagonal) / (samples * (m - 1)) if m > 1 else different
    return jnp.stack([diagonal / samples, same, different])


def rates(kernel: BlockKernel, loss_scale: float) -> Float[Array, "3"]:
    """Decay rates λ/Z of the three residual parts under gradient flow of ‖R‖²/(2Z) (paper 3, (13)–(15))."""
    return kernel.eigenvalues / loss_scale


def step_limit(kernel: BlockKernel, loss_scale: float) -> float:
    """Largest stable step 2Z/λ_max of gradient descent on the residual under a constant kernel."""
    there = [dimension > 0 for dimension in kernel.multiplicities]
    top = max(float(value) for value, present in zip(kernel.eigenvalues, there, strict=True) if present)
    return math.inf if top <= 0 else 2 * loss_scale / top
