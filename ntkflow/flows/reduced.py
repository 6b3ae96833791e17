"""The flow reduced by its invariant: the within-class scatter is not integrated but known."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractBlockFlow
from ntkflow.flows.diagonal_product import times_diagonal
from ntkflow.flows.frame import Frame, compress, within_class
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.sample import targets_for
from ntkflow.flows.states import ClassState, SampleState
from ntkflow.kernels import BlockKernel


class InvariantState(eqx.Module):
    """H₁, W and b in the eigenbasis of E, and F with FFᵀ = S where single samples are wanted (None otherwise).

    W and H₁ᵀ are one array, one above the other: a right-hand side is then two products of matrices, and an integrator
    has one array less to go through.
    """

    rows: Float[Array, "*times outputs_and_classes dims"]
    bias: Float[Array, "*times outputs"]
    within: Float[Array, "*times dims rank"] | None

    @staticmethod
    def of(
        class_means: Float[Array, "dims classes"],
        weight: Float[Array, "outputs dims"],
        bias: Float[Array, " outputs"],
        within: Float[Array, "dims rank"] | None,
    ) -> InvariantState:
        """From its parts."""
        return InvariantState(jnp.concatenate([weight, class_means.T]), bias, within)

    @property
    def weight(self) -> Float[Array, "*times outputs dims"]:
        """W."""
        return self.rows[..., : self.bias.shape[-1], :]

    @property
    def class_means(self) -> Float[Array, "*times dims classes"]:
        """H₁."""
        return jnp.swapaxes(self.rows[..., self.bias.shape[-1] :, :], -1, -2)


class InvariantFlow(AbstractBlockFlow[InvariantState]):
    """The flow (25) with S taken from the invariant (26), exact for every time, at a cost independent of N.

    E is constant, so S = μ_single(WᵀW/m − H₁AH₁ᵀ/μ_class − E) is known from (H₁, W), A = I − α11ᵀ. In the eigenbasis of
    E, with eigenvalues e, the product W E is element by element:

    WS = μ_single[(WWᵀ)W/m − (WH₁)AH₁ᵀ/μ_class − W diag(e)],
    Ḣ₁ = −WᵀR₁(μ_class I + κ_n m 11ᵀ)/Z,  Ẇ = −m(R₁H₁ᵀ + WS)/Z,  ḃ = −mR₁1/Z,  R₁ = WH₁ + b1ᵀ − T.

    A right-hand side costs O(nC²); with single samples, whose F moves as Ḟ = −μ_single WᵀWF/Z, O(nC·rank F) more. S is
    the difference of larger numbers. At one state that costs some 1e-16 of them; over a run the error of W and H₁ is in
    it, at rtol = 1e-10 about 1e-11‖W‖² and at 1e-6 about 1e-8‖W‖², S slightly indefinite then. So ‖WH₂‖ = √Tr(WSWᵀ) is
    not known below about the root of the tolerance unless F is carried; the class means do not suffer. Not a
    formula of the sources; time is gradient-flow time of ‖R‖²_F/(2Z).

    Args:
        kernel: Θʰ, (κ_d, κ_c, κ_n).
        eigenvalues: e, of E, in the basis of ``frame``.
        frame: the eigenvectors of E as ``directions``, and how single samples come back.
        rest: what is left of E beside ``eigenvalues`` in that basis: zero up to rounding, but not its derivative. None
            where nothing is differentiated.
        targets: T, column c the target of class c; the identity for one-hot labels.
        loss_scale: Z.

    Raises:
        ValueError: targets for another number of classes than the kernel's.
    """

    kernel: BlockKernel
    eigenvalues: Float[Array, " dims"]
    frame: Frame
    targets: Float[Array, "outputs classes"]
    loss_scale: Float[Array, ""]
    rest: Float[Array, "dims dims"] | None

    def __init__(
        self,
        kernel: BlockKernel,
        eigenvalues: Float[Array, " dims"],
        frame: Frame,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
        rest: Float[Array, "dims dims"] | None = None,
    ) -> None:
        self.kernel = kernel
        self.eigenvalues = eigenvalues
        self.frame = frame
        self.targets = targets_for(kernel, targets)
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.rest = rest

    @staticmethod
    def starting_at(
        state: SampleState,
        kernel: BlockKernel,
        *,
        loss_scale: float | Float[Array, ""],
        targets: Float[Array, "outputs classes"] | None = None,
        samples: bool = False,
        all_directions: bool = False,
    ) -> tuple[InvariantFlow, InvariantState]:
        """The reduced flow through a state, and that state in its coordinates.

        With ``all_directions`` it can be differentiated. Eigenvectors of E have no derivative where eigenvalues meet
        (E = 0 is the extreme), and need none: they are held constant, and the derivative of E is a full matrix in
        their basis. A derivative costs O(Cn²) a right-hand side for that. With ``samples`` as well, the derivative
        needs a scatter S of the largest rank that it can have, min(n, N − C); it is NaN otherwise.

        Args:
            state: H, W, b.
            kernel: Θʰ.
            loss_scale: Z.
            targets: T.
            samples: whether to carry F, so that single samples can be had at every time.
            all_directions: as in :func:`ntkflow.flows.compress`: needed under ``jit`` and ``vmap``, where the kernel is
                not checked either (see :func:`refuse_without_invariant`).

        Raises:
            ValueError: μ_single, μ_class or μ_global is not positive, so that there is no invariant to reduce by; or
                the samples cannot be sorted into classes of one size.
        """
        if not isinstance(kernel.lambda_single, Tracer):
            refuse_without_invariant(kernel)
        frame, inside = compress(state, kernel.classes, samples=samples, all_directions=all_directions)
        # Without single samples, S from all of them: it has a derivative at any rank.
        away = frame.directions.T @ within_class(state, kernel.classes) / jnp.sqrt(kernel.per_class)
        whole = inside if samples else ClassState(inside.class_means, away, inside.weight, inside.bias)
        invariant = InvariantSides.of(whole, kernel).invariant
        # Any constant basis is right; in this one E is diagonal.
        eigenvalues, rotation = jnp.linalg.eigh(jax.lax.stop_gradient(invariant))
        rest = None
        if all_directions:
            invariant = rotation.T @ invariant @ rotation
            eigenvalues = jnp.diagonal(invariant)
            rest = invariant - jnp.diag(eigenvalues)
        turned = Frame(frame.directions @ rotation, frame.samples)
        initial = InvariantState.of(
            class_means=rotation.T @ inside.class_means,
            weight=inside.weight @ rotation,
            bias=inside.bias,
            within=rotation.T @ inside.within if samples else None,
        )
        return InvariantFlow(kernel, eigenvalues, turned, loss_scale=loss_scale, targets=targets, rest=rest), initial

    def vector_field(self, t: Float[Array, ""], state: InvariantState, args: Any) -> InvariantState:
        """The right-hand side."""
        kernel, m, rows = self.kernel, self.kernel.per_class, state.rows
        outputs, classes = self.targets.shape
        gram = rows[:outputs] @ rows.T
        logits = gram[:, outputs:]
        residual = (logits + state.bias[:, None] - self.targets) / self.loss_scale
        total = jnp.sum(residual, axis=1)
        coupled = kernel.lambda_class * residual + kernel.different_class * m * total[:, None]
        single = kernel.lambda_single / self.loss_scale
        corrected = logits - kernel.alpha * jnp.sum(logits, axis=1, keepdims=True)
        # R₁H₁ᵀ + WS but for −μ_single WE, as combinations of the rows of W and of H₁ᵀ.
        of_weight = single / m * gram[:, :outputs]
        of_means = residual - single / kernel.lambda_class * corrected
        combinations = jnp.block([[m * of_weight, m * of_means], [coupled.T, jnp.zeros((classes, classes))]])
        own = jnp.concatenate([jnp.broadcast_to(m * single, (outputs,)), jnp.zeros(classes)])
        within = state.within
        return InvariantState(
            rows=own[:, None] * self.by_invariant(rows) - combinations @ rows,
            bias=-m * total,
            within=None if within is None else -single * (rows[:outputs].T @ (rows[:outputs] @ within)),
        )

    def by_invariant(self, weight: Float[Array, "rows dims"]) -> Float[Array, "rows dims"]:
        """WE: element by element; the derivative of E is not."""
        return weight * self.eigenvalues if self.rest is None else times_diagonal(weight, self.eigenvalues, self.rest)

    def class_residual(self, state: InvariantState) -> Float[Array, "outputs classes"]:
        """R₁, the class means of the residual."""
        return state.weight @ state.class_means + state.bias[:, None] - self.targets

    def logit_scatter(self, state: InvariantState) -> Float[Array, "outputs outputs"]:
        """WSWᵀ from the invariant."""
        kernel = self.kernel
        gram, logits = state.weight @ state.weight.T, state.weight @ state.class_means
        corrected = logits - kernel.alpha * jnp.sum(logits, axis=1, keepdims=True)
        known = self.by_invariant(state.weight) @ state.weight.T
        return kernel.lambda_single * (
            gram @ gram / kernel.per_class - corrected @ logits.T / kernel.lambda_class - known
        )

    def residual_norms(self, state: InvariantState) -> Float[Array, "3"]:
        """Norms of the three parts of R; the last from F where it is carried, else from the invariant."""
        if self.kernel.per_class == 1:
            within = jnp.zeros(())  # nothing is there, and the invariant would give the root of its rounding
        elif state.within is not None:
            within = jnp.sum((state.weight @ state.within) ** 2)
        else:
            within = jnp.maximum(jnp.trace(self.logit_scatter(state)), 0.0)
        return self.norms_of(self.class_residual(state), within)

    def scatter(self, state: InvariantState) -> Float[Array, "dims dims"]:
        """S from the invariant, in the eigenbasis of E; symmetric, and positive semi-definite up to rounding."""
        kernel = self.kernel
        total = jnp.sum(state.class_means, axis=1)
        between = state.class_means @ state.class_means.T - kernel.alpha * jnp.outer(total, total)
        weight = state.weight.T @ state.weight / kernel.per_class
        known = jnp.diag(self.eigenvalues) if self.rest is None else jnp.diag(self.eigenvalues) + self.rest
        return kernel.lambda_single * (weight - between / kernel.lambda_class - known)

    def invariants(self, state: InvariantState) -> dict[str, Float[Array, "..."]]:
        """E of (26), where F is carried: its change is then the error of the integration. Empty otherwise."""
        if state.within is None:
            return {}
        return {"E": InvariantSides.of(self.class_state(state), self.kernel).invariant}

    def class_state(self, state: InvariantState) -> ClassState:
        """The state in feature space, with F or, where that is not carried, a square root of S as ``within``."""
        within = state.within
        if within is None:
            values, vectors = jnp.linalg.eigh(self.scatter(state))
            within = vectors * jnp.sqrt(jnp.maximum(values, 0.0))
        return self.frame.class_state(ClassState(state.class_means, within, state.weight, state.bias))

    def sample_state(self, state: InvariantState) -> SampleState:
        """H, W, b with every sample.

        Raises:
            ValueError: F is not carried.
        """
        if state.within is None:
            raise ValueError("this reduced flow does not carry single samples; ask for them with samples=True")
        return self.frame.sample_state(ClassState(state.class_means, state.within, state.weight, state.bias))


def refuse_without_invariant(kernel: BlockKernel) -> None:
    """Raise ``ValueError`` if the eigenvalues of Θʰ leave E of (26) undefined; says which and by how much."""
    wanted = {"mu_single": kernel.lambda_single, "mu_class": kernel.lambda_class, "mu_global": kernel.lambda_global}
    for name, value in wanted.items():
        if not float(value) > 0:
            raise ValueError(
                f"the reduction by the invariant needs {name} > 0, not {float(value):g} "
                f"(kernel values {float(kernel.diagonal):g}, {float(kernel.same_class):g}, "
                f"{float(kernel.different_class):g}); integrate the class form instead"
            )
