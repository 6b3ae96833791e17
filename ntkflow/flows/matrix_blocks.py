"""The flow where the three values of Θʰ are matrices over pairs of features: paper 3, appendix D."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.flows.frame import Frame, compress
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.states import ClassState, SampleState
from ntkflow.kernels import Commutant, MatrixBlockKernel


class MatrixBlockFlow(AbstractSquaredErrorFlow[ClassState]):
    """The flow (73) of (H₁, H₂, W, b), an exact rewriting of (72) with its signs corrected (docs/errata.md):

    Ḣ₁ = −[(A_d + mA_c)WᵀR₁ + mA_n WᵀR₁11ᵀ]/Z,  Ḣ₂ = −A_d WᵀWH₂/Z,
    Ẇ = −m(R₁H₁ᵀ + WH₂H₂ᵀ)/Z,  ḃ = −mR₁1/Z, with R₁ = WH₁ + b1ᵀ − T.

    In the sample form, Ḣ = −(A_d WᵀR + mA_c WᵀR_class + NA_n WᵀR_global)/Z. As in :class:`ntkflow.flows.ClassFlow`, any
    factor of the scatter can stand for H₂. A right-hand side costs O(n²C + nC·columns of H₂ + n²·columns of H₂).

    Args:
        kernel: A_d, A_c, A_n; known numbers, not under ``jit``: what is conserved is decided here.
        loss_scale: Z.
        targets: T, column c the target of class c; the identity for one-hot labels.
        frame: the coordinates of the state, from :meth:`starting_at`; None for H₂ in the basis of
            :func:`ntkflow.flows.within_basis`.

    Raises:
        ValueError: targets for another number of classes than the kernel's.
    """

    kernel: MatrixBlockKernel
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]
    frame: Frame | None
    commutant: Commutant
    inverse_roots: Float[Array, "3 features features"]

    def __init__(
        self,
        kernel: MatrixBlockKernel,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
        frame: Frame | None = None,
    ) -> None:
        if targets is not None and targets.shape[1] != kernel.classes:
            raise ValueError(f"targets of {targets.shape[1]} classes do not fit a kernel of {kernel.classes} classes")
        self.kernel = kernel
        self.targets = jnp.eye(kernel.classes) if targets is None else targets
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.frame = frame
        self.commutant = Commutant.of(kernel.acting)
        matrices = kernel.lambda_single, kernel.lambda_class, kernel.lambda_global
        self.inverse_roots = jnp.stack([_inverse_root(matrix) for matrix in matrices])

    @staticmethod
    def starting_at(
        state: SampleState,
        kernel: MatrixBlockKernel,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
        samples: bool = True,
    ) -> tuple[MatrixBlockFlow, ClassState]:
        """The flow through a state, and that state with at most n columns for H₂, whatever N is.

        Args:
            state: H, W, b.
            kernel: A_d, A_c, A_n.
            loss_scale: Z.
            targets: T.
            samples: whether single samples can be had back at every time.

        Raises:
            ValueError: the samples cannot be sorted into classes of one size.
        """
        # The matrices lead out of the span of features and weights, so all directions are kept.
        frame, inside = compress(state, kernel.classes, samples=samples, all_directions=True)
        return MatrixBlockFlow(kernel, loss_scale=loss_scale, targets=targets, frame=frame), inside

    def vector_field(self, t: Float[Array, ""], state: ClassState, args: Any) -> ClassState:
        """The right-hand side of (73) over Z."""
        kernel, m = self.kernel, self.kernel.per_class
        residual = self.class_residual(state) / self.loss_scale
        total = jnp.sum(residual, axis=1)
        logits_within = state.weight @ state.within / self.loss_scale
        shared = m * (kernel.everywhere @ (state.weight.T @ total))
        return ClassState(
            class_means=-(kernel.lambda_class @ (state.weight.T @ residual) + shared[:, None]),
            within=-(kernel.own @ (state.weight.T @ logits_within)),
            weight=-m * (residual @ state.class_means.T + logits_within @ state.within.T),
            bias=-m * total,
        )

    def class_residual(self, state: ClassState) -> Float[Array, "outputs classes"]:
        """R₁, the class means of the residual."""
        return state.weight @ state.class_means + state.bias[:, None] - self.targets

    def residual(self, state: ClassState) -> Float[Array, "outputs samples"]:
        """R = WH + b1ᵀ − Y of every sample. Raises ``ValueError`` where single samples are not carried."""
        sample = self.sample_state(state)
        targets = jnp.repeat(self.targets, self.kernel.per_class, axis=1)
        return sample.weight @ sample.features + sample.bias[:, None] - targets

    def residual_norms(self, state: ClassState) -> Float[Array, "3"]:
        """Norms of the three parts of R; the within-class part is √m WH₂."""
        m, classes = self.kernel.per_class, self.kernel.classes
        residual = self.class_residual(state)
        mean = jnp.mean(residual, axis=1, keepdims=True)
        within = jnp.sum((state.weight @ state.within) ** 2)
        squares = [m * classes * jnp.sum(mean**2), m * jnp.sum((residual - mean) ** 2), m * within]
        return jnp.sqrt(jnp.stack(squares))

    def unprojected(self, state: ClassState) -> InvariantSides:
        """WᵀW/m beside A_d^{-½}SA_d^{-½} + B₁^{-½}H₁PH₁ᵀB₁^{-½} + B₀^{-½}H₁(I − P)H₁ᵀB₀^{-½}, of which the flow
        conserves a projection only.

        B₁ = A_d + mA_c, B₀ = B₁ + NA_n, P = I − 11ᵀ/C. Directions in which a matrix is not positive are left out of its
        inverse root. For multiples of the identity the two sides are those of (26).
        """
        mean = jnp.mean(state.class_means, axis=1, keepdims=True)
        parts = state.within, state.class_means - mean, jnp.sqrt(self.kernel.classes) * mean
        roots = [root @ part for root, part in zip(self.inverse_roots, parts, strict=True)]
        return InvariantSides(
            weight_side=state.weight.T @ state.weight / self.kernel.per_class,
            feature_side=sum((part @ part.T for part in roots), start=jnp.zeros_like(self.kernel.own)),
        )

    def invariants(self, state: ClassState) -> dict[str, Float[Array, "..."]]:
        """E, n×n: what of :meth:`unprojected`'s difference commutes with A_d, A_c and A_n, an orthogonal projection.

        Those are all quadratic invariants there are (docs/theory.md). For multiples of the identity it is E of (26);
        for commuting matrices with different joint eigenvalues it is n numbers, one for each joint eigenvector; for
        matrices that share no invariant subspace it is one number, Tr E/n, times the identity. Empty where no direction
        has all three matrices positive definite.
        """
        if self.commutant.dimension == 0:
            return {}
        return {"E": self.commutant.project(self.unprojected(state).invariant)}

    def class_state(self, state: ClassState) -> ClassState:
        """The state in feature space."""
        return state if self.frame is None else self.frame.class_state(state)

    def sample_state(self, state: ClassState) -> SampleState:
        """H, W, b with every sample. Raises ``ValueError`` if they were given up."""
        return state.to_sample() if self.frame is None else self.frame.sample_state(state)


def _inverse_root(matrix: Float[Array, "features features"]) -> Float[Array, "features features"]:
    """The inverse square root, 0 in the directions in which the matrix is not positive up to rounding."""
    values, vectors = jnp.linalg.eigh(matrix)
    positive = values > 1e-12 * jnp.max(jnp.abs(values))
    return (vectors * jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, values, 1.0)), 0.0)) @ vectors.T
