"""The frames in which W and the class means end, in closed form: paper 3, (29)–(30) and (60)–(70)."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels import BlockKernel


class ClassFrame(eqx.Module):
    """W and H₁ up to a rotation of feature space: all their inner products, and the bias.

    Args:
        weight_gram: WWᵀ.
        means_gram: H₁ᵀH₁, of the class means as they are.
        logits: WH₁.
        bias: b.
    """

    weight_gram: Float[Array, "classes classes"]
    means_gram: Float[Array, "classes classes"]
    logits: Float[Array, "classes classes"]
    bias: Float[Array, " classes"]

    @property
    def centred_gram(self) -> Float[Array, "classes classes"]:
        """M̄ᵀM̄, of the class means minus their mean."""
        return centre(centre(self.means_gram).T)

    @property
    def weight_cosines(self) -> Float[Array, "classes classes"]:
        """Cosines between the rows of W."""
        return cosines(self.weight_gram)

    @property
    def means_cosines(self) -> Float[Array, "classes classes"]:
        """Cosines between the class means as they are."""
        return cosines(self.means_gram)

    @property
    def centred_cosines(self) -> Float[Array, "classes classes"]:
        """Cosines between the centred class means: −1/(C − 1) off the diagonal under NC2."""
        return cosines(self.centred_gram)

    @property
    def nc2_distance(self) -> Float[Array, ""]:
        """‖M̄ᵀM̄/‖M̄ᵀM̄‖ − Φ/‖Φ‖‖ with Φ = I − 11ᵀ/C: 0 exactly under NC2, lengths included. NaN where M̄ = 0."""
        gram = self.centred_gram
        etf = centre(jnp.eye(gram.shape[0]))
        return jnp.linalg.norm(gram / jnp.linalg.norm(gram) - etf / jnp.linalg.norm(etf))


def balanced_frame(
    bias: Float[Array, " classes"], kernel: BlockKernel, targets: Float[Array, "classes classes"] | None = None
) -> ClassFrame:
    """The frame of a limit with E = 0, S = 0, R₁ = 0 and final bias b.

    (WWᵀ)² = (m/μ_class) F A Fᵀ with F = T − b1ᵀ, which is (60) for T = I; H₁ᵀH₁ is the positive semi-definite
    solution of X A X = (μ_class/m) FᵀF, (63):

    X = √(μ_class/m) A^{−1/2} (A^{1/2} FᵀF A^{1/2})^{1/2} A^{−1/2}.

    Args:
        bias: b = lim b(t).
        kernel: Θʰ, with μ_class > 0 and μ_global > 0.
        targets: T; the identity where none are given.
    """
    classes, m = kernel.classes, kernel.per_class
    fitted = (jnp.eye(classes) if targets is None else targets) - bias[:, None]
    # A = I − α11ᵀ has the eigenvalue 1 off the vector 1, and 1 − αC on it.
    ones = jnp.full((classes, classes), 1 / classes)
    on_mean = jnp.sqrt(kernel.lambda_class / kernel.lambda_global)
    root = jnp.eye(classes) + (on_mean - 1) * ones
    inverse_root = jnp.eye(classes) + (1 / on_mean - 1) * ones
    scale = jnp.sqrt(kernel.lambda_class / m)
    balanced = fitted @ root
    # By the singular values of F A^{1/2}: the square root of a square would lose half of the digits.
    left, singular, right = jnp.linalg.svd(balanced)
    return ClassFrame(
        weight_gram=(left * singular) @ left.T / scale,
        means_gram=scale * inverse_root @ (right.T * singular) @ right @ inverse_root,
        logits=fitted,
        bias=bias,
    )


def equal_bias_constants(beta: float | Float[Array, ""], kernel: BlockKernel) -> Float[Array, "2"]:
    """γ and θ: with E = 0, S = 0, R₁ = 0, T = I and b = β1, WWᵀ ∝ I − γ11ᵀ (62) and H₁ᵀH₁ ∝ I − θ11ᵀ (66).

    γ = (1 − |1 − βC|√(1 − αC))/C, as in (68), and θ = (1 − |1 − βC|/√(1 − αC))/C; the print's (30) for γ and (66), (68)
    for θ are wrong (docs/errata.md). For T = I − 11ᵀ/C the same with β + 1/C in the place of β. The cosine between two
    vectors is −γ/(1 − γ), or −θ/(1 − θ).
    """
    classes = kernel.classes
    away = jnp.abs(1 - jnp.asarray(beta, dtype=float) * classes)
    root = jnp.sqrt(kernel.lambda_class / kernel.lambda_global)
    return (1 - jnp.stack([away * root, away / root])) / classes


def centre(matrix: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """ΦX: the mean of the rows taken off every row."""
    return matrix - jnp.mean(matrix, axis=0, keepdims=True)


def cosines(gram: Float[Array, "vectors vectors"]) -> Float[Array, "vectors vectors"]:
    """Cosines between vectors from their Gram matrix; NaN where a vector is 0."""
    lengths = jnp.sqrt(jnp.diagonal(gram))
    return gram / (lengths[:, None] * lengths[None, :])
