"""What the flows with classes that are not alike share: the equations for class means and the invariant."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractSquaredErrorFlow
from ntkflow.flows.class_split import compress_columns, join_classes, split_classes
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.states import ClassState, SampleState
from ntkflow.kernels import ClassBlockKernel


class AbstractClassBlockFlow(AbstractSquaredErrorFlow[ClassState]):
    """The flow Ḣ = −WᵀRK/Z, Ẇ = −RHᵀ/Z, ḃ = −R1/Z under K = diag(Yᵀμ) + YᵀMY, in class means and deviations.

    With D = diag(m_c), G = M + D⁻¹diag(μ) and R₁ = WH₁ + b1ᵀ − T the class means of R, exactly

    Ḣ₁ = −WᵀR₁DG/Z,  Ḟ = −WᵀWF diag(μ of the column)/Z,  Ẇ = −(R₁DH₁ᵀ + (N/C)WFFᵀ)/Z,  ḃ = −R₁D1/Z.

    F is any matrix with FFᵀ = (C/N)Σ_c m_c S_c, S_c the covariance of class c normalised by m_c.
    """

    kernel: eqx.AbstractVar[ClassBlockKernel]
    targets: eqx.AbstractVar[Float[Array, "outputs classes"]]
    has_invariant: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def column_rates(self, columns: int) -> Float[Array, "..."]:
        """μ of every column of F, or one number for all."""

    @property
    @abc.abstractmethod
    def column_groups(self) -> int:
        """How many groups of columns F has: those of one group share μ."""

    def initial(self, state: SampleState, *, samples: bool = True) -> ClassState:
        """A sample state in the coordinates of this flow.

        Args:
            state: H, W, b, samples sorted by class.
            samples: whether single samples can be had back; without, F has at most n columns in each of its groups,
                and nothing after this depends on N.

        Raises:
            ValueError: the kernel's sizes do not add up to the number of samples.
        """
        split = split_classes(state, self.kernel.sizes)
        if samples:
            return split
        fewer = compress_columns(split.within, self.column_groups)
        return eqx.tree_at(lambda split: split.within, split, fewer)

    def vector_field(self, t: Float[Array, ""], state: ClassState, args: Any) -> ClassState:
        """The right-hand side."""
        kernel = self.kernel
        weighted = self.class_residual(state) * kernel.counts / self.loss_scale
        logits_within = state.weight @ state.within / self.loss_scale
        return ClassState(
            class_means=-state.weight.T @ (weighted @ kernel.mean_kernel),
            within=-(state.weight.T @ logits_within) * self.column_rates(state.within.shape[1]),
            weight=-(weighted @ state.class_means.T + kernel.mean_size * (logits_within @ state.within.T)),
            bias=-jnp.sum(weighted, axis=1),
        )

    def class_residual(self, state: ClassState) -> Float[Array, "outputs classes"]:
        """R₁, the class means of the residual."""
        return state.weight @ state.class_means + state.bias[:, None] - self.targets

    def residual(self, state: ClassState) -> Float[Array, "outputs samples"]:
        """R = WH + b1ᵀ − Y of every sample. Raises ``ValueError`` where single samples are not carried."""
        sample = self.sample_state(state)
        return sample.weight @ sample.features + sample.bias[:, None] - self.targets[:, self.kernel.labels]

    def residual_norms(self, state: ClassState) -> Float[Array, "3"]:
        """Norms of three orthogonal parts of R, every sample counted once:

        √N times the length of the mean over all *samples*, r̄ = R₁D1/N; √(Σ_c m_c‖R₁c − r̄‖²); and √(N/C)‖WF‖. For
        equal sizes they are those of :data:`ntkflow.kernels.EIGENSPACES`. K mixes the first two where classes
        differ.
        """
        kernel = self.kernel
        residual = self.class_residual(state)
        mean = residual @ kernel.counts / kernel.samples
        squares = [
            kernel.samples * jnp.sum(mean**2),
            jnp.sum(kernel.counts * (residual - mean[:, None]) ** 2),
            kernel.mean_size * jnp.sum((state.weight @ state.within) ** 2),
        ]
        return jnp.sqrt(jnp.stack(squares))

    def invariants(self, state: ClassState) -> dict[str, Float[Array, "..."]]:
        """E of :meth:`invariant_sides`, n×n; empty where the kernel is not positive definite."""
        return {"E": self.invariant_sides(state).invariant} if self.has_invariant else {}

    def invariant_sides(self, state: ClassState) -> InvariantSides:
        """The two sides of E = (C/N)(WᵀW − H₁G⁻¹H₁ᵀ − Σ_c m_c S_c/μ_c), conserved; (26) for classes that are alike.

        Raises:
            ValueError: G, or μ_c of a class of at least two samples, is not positive definite.
        """
        kernel = self.kernel
        if not self.has_invariant:
            raise ValueError(f"the invariant needs a positive definite kernel, but {what_is_not_positive(kernel)}")
        columns = state.within.shape[1]
        root = jax.scipy.linalg.solve_triangular(
            jnp.linalg.cholesky(kernel.mean_kernel), state.class_means.T, lower=True
        )
        rates = jnp.broadcast_to(self.column_rates(columns), (columns,))
        # The columns of a class of one sample are zero, and its μ means nothing: it may be 0.
        inverse = jnp.where(rates > 0, 1 / jnp.where(rates > 0, rates, 1.0), 0.0)
        return InvariantSides(
            weight_side=state.weight.T @ state.weight / kernel.mean_size,
            feature_side=root.T @ root / kernel.mean_size + (state.within * inverse) @ state.within.T,
        )

    def class_state(self, state: ClassState) -> ClassState:
        """The state itself."""
        return state

    def sample_state(self, state: ClassState) -> SampleState:
        """H, W, b with every sample. Raises ``ValueError`` if they were given up."""
        return join_classes(state, self.kernel.sizes)


def what_is_not_positive(kernel: ClassBlockKernel) -> str:
    """What keeps a kernel from being positive definite, in words; empty if nothing does, or if it is not known yet
    (under ``jit`` and ``vmap``)."""
    if any(isinstance(leaf, Tracer) for leaf in (kernel.diagonal, kernel.pairs)):
        return ""
    smallest, largest = np.asarray(kernel.class_eigenvalues)[[0, -1]]
    if not smallest > 1e-13 * abs(largest):
        return f"the smallest eigenvalue of its class means is {smallest:g}"
    for index, (size, value) in enumerate(zip(kernel.sizes, np.asarray(kernel.lambda_single), strict=True)):
        if size > 1 and not value > 0:
            return f"kappa_d - kappa_c of class {index} is {value:g}"
    return ""


def class_targets(
    kernel: ClassBlockKernel, targets: Float[Array, "outputs classes"] | None
) -> Float[Array, "outputs classes"]:
    """The targets given, or the identity. Raises ``ValueError`` if they are for another number of classes."""
    if targets is None:
        return jnp.eye(kernel.classes)
    if targets.shape[1] != kernel.classes:
        raise ValueError(f"targets of {targets.shape[1]} classes do not fit a kernel of {kernel.classes} classes")
    return targets
