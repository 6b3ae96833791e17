"""The same flow split into class means and what is left within each class: paper 3, Theorem 5.1."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractBlockFlow
from ntkflow.flows.frame import Frame, compress
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.sample import targets_for
from ntkflow.flows.states import ClassState, SampleState
from ntkflow.kernels import BlockKernel


class ClassFlow(AbstractBlockFlow[ClassState]):
    """The flow (25) of (H₁, H₂, W, b), an exact rewriting of (19):

    Ḣ₁ = −WᵀR₁(μ_class I + κ_n m 11ᵀ)/Z,  Ḣ₂ = −μ_single WᵀWH₂/Z,
    Ẇ = −m(R₁H₁ᵀ + WH₂H₂ᵀ)/Z,  ḃ = −mR₁1/Z, with R₁ = WH₁ + b1ᵀ − T.

    Only the scatter S = H₂H₂ᵀ matters to the rest, and H₂ is only ever multiplied from the left. So ``within`` may be
    any factor of S: see :meth:`starting_at`, after which the cost does not depend on N.

    Args:
        kernel: Θʰ, (κ_d, κ_c, κ_n).
        targets: T, column c the target of class c; the identity for one-hot labels, as in the paper.
        loss_scale: Z (the paper's text has Z = 1).
        frame: the coordinates of the state; None for H₂ in the basis of :func:`ntkflow.flows.within_basis`.

    Raises:
        ValueError: targets for another number of classes than the kernel's.
    """

    kernel: BlockKernel
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]
    frame: Frame | None

    def __init__(
        self,
        kernel: BlockKernel,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
        frame: Frame | None = None,
    ) -> None:
        self.kernel = kernel
        self.targets = targets_for(kernel, targets)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.frame = frame

    @staticmethod
    def starting_at(
        state: SampleState,
        kernel: BlockKernel,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
        samples: bool = True,
        all_directions: bool = False,
    ) -> tuple[ClassFlow, ClassState]:
        """The flow through a state in the fewest coordinates that hold it exactly, and the state in them.

        Args:
            state: H, W, b.
            kernel: Θʰ.
            loss_scale: Z.
            targets: T.
            samples: whether single samples can be had back at every time.
            all_directions: as in :func:`ntkflow.flows.compress`: needed under ``jit`` and ``vmap``.

        Raises:
            ValueError: the samples cannot be sorted into classes of one size.
        """
        frame, inside = compress(state, kernel.classes, samples=samples, all_directions=all_directions)
        return ClassFlow(kernel, loss_scale=loss_scale, targets=targets, frame=frame), inside

    def vector_field(self, t: Float[Array, ""], state: ClassState, args: Any) -> ClassState:
        """The right-hand side of (25) over Z."""
        kernel, m = self.kernel, self.kernel.per_class
        residual = self.class_residual(state) / self.loss_scale
        total = jnp.sum(residual, axis=1)
        logits_within = state.weight @ state.within / self.loss_scale
        coupled = kernel.lambda_class * residual + kernel.different_class * m * total[:, None]
        return ClassState(
            class_means=-state.weight.T @ coupled,
            within=-kernel.lambda_single * (state.weight.T @ logits_within),
            weight=-m * (residual @ state.class_means.T + logits_within @ state.within.T),
            bias=-m * total,
        )

    def class_residual(self, state: ClassState) -> Float[Array, "outputs classes"]:
        """R₁, the class means of the residual."""
        return state.weight @ state.class_means + state.bias[:, None] - self.targets

    def residual_norms(self, state: ClassState) -> Float[Array, "3"]:
        """Norms of the three parts of R, without going back to single samples: the within-class part is √m WH₂."""
        return self.norms_of(self.class_residual(state), jnp.sum((state.weight @ state.within) ** 2))

    def invariants(self, state: ClassState) -> dict[str, Float[Array, "..."]]:
        """E of (26), n×n."""
        return {"E": InvariantSides.of(state, self.kernel).invariant}

    def class_state(self, state: ClassState) -> ClassState:
        """The state in feature space."""
        return state if self.frame is None else self.frame.class_state(state)

    def sample_state(self, state: ClassState) -> SampleState:
        """H, W, b with every sample. Raises ``ValueError`` if they were given up."""
        return state.to_sample() if self.frame is None else self.frame.sample_state(state)
