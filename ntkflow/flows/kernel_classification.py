"""Gradient flow of the softmax cross-entropy of a model linear in its parameters, by its kernel."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractFlow
from ntkflow.flows.cross_entropy import check_distributions, cross_entropy_of, softmax_difference
from ntkflow.flows.kernel_modes import AbstractKernelModes
from ntkflow.flows.kernel_regression import RegressionOutputs, fitting_start
from ntkflow.kernels import split_eigenspaces


class KernelClassificationFlow(AbstractFlow[Array]):
    """ḟ(x) = −Θ(x, X)(softmax f(X) − Y)/Z for training and test samples x, Θ constant and p.s.d.

    The thesis' (2.58) for the cross-entropy −(1/Z) Σ_i y_iᵀ log softmax f(x_i): exact for a network of infinite width
    and for f_lin of a finite one. There is no closed form. The state is a, C×N, of f = f₀ + Θ(·, X)[a],

        ȧ = −(softmax(f₀(X) + Θ[a]) − Y)/Z,  a(0) = 0,

    so test samples cost nothing until somebody asks for :meth:`outputs`, and rounding cannot carry f out of Θ's range.
    The sum of a over the outputs is conserved for every sample, because that of the residual is 0. With
    one-hot labels that the kernel can tell apart the loss has no minimum: a grows like log t.

    Time is gradient-flow time of the loss with this Z.

    Args:
        kernel: Θ(X, X) and Θ(x, X): :class:`DenseModes` or :class:`BlockModes`; its eigenspaces are not used.
        targets: Y, a column a training sample: not negative, of sum 1.
        loss_scale: Z.
        initial: f₀ on training and test samples; 0 unless told.
        classes: C, if the samples are sorted by class, C classes of one size, for the names of the three parts in
            ``residual_norms``; with 1 they are mean, 0, and the rest.

    Raises:
        ValueError: shapes that do not fit, targets that are no distributions, samples that are no multiple of
            ``classes``.
    """

    kernel: AbstractKernelModes
    targets: Float[Array, "outputs samples"]
    initial: RegressionOutputs
    loss_scale: Float[Array, ""]
    classes: int = eqx.field(static=True)

    def __init__(
        self,
        kernel: AbstractKernelModes,
        *,
        targets: Float[Array, "outputs samples"],
        loss_scale: float | Float[Array, ""],
        initial: RegressionOutputs | None = None,
        classes: int = 1,
    ) -> None:
        initial = fitting_start(kernel, targets, initial, classes)
        if not isinstance(targets, Tracer):
            check_distributions(np.asarray(targets))
        self.kernel = kernel
        self.targets = targets
        self.initial = initial
        self.loss_scale = jnp.asarray(loss_scale, dtype=float)
        self.classes = classes

    @property
    def start(self) -> Float[Array, "outputs samples"]:
        """a(0) = 0."""
        return jnp.zeros_like(self.targets)

    def vector_field(
        self, t: Float[Array, ""], state: Float[Array, "outputs samples"], args: Any
    ) -> Float[Array, "outputs samples"]:
        """−(softmax f(X) − Y)/Z."""
        return -self.residual(state) / self.loss_scale

    def outputs(self, state: Float[Array, "*times outputs samples"]) -> RegressionOutputs:
        """f(X) and f(x) of coefficients a, or of those at several times."""
        if state.ndim > 2:
            return jax.vmap(self.outputs)(state)
        return RegressionOutputs(
            self.initial.train + self.kernel.apply(state), self.initial.test + self.kernel.apply_cross(state)
        )

    def residual(self, state: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        """softmax f(X) − Y."""
        return softmax_difference(self._logits(state), self.targets)

    def residual_norms(self, state: Float[Array, "outputs samples"]) -> Float[Array, "3"]:
        """Norms of the three parts of the residual."""
        return split_eigenspaces(self.residual(state), self.classes).norms()

    def loss(self, state: Float[Array, "outputs samples"]) -> Float[Array, ""]:
        """The sum over training samples of the cross-entropy, over Z."""
        return cross_entropy_of(self._logits(state), self.targets) / self.loss_scale

    def invariants(self, state: Float[Array, "outputs samples"]) -> dict[str, Float[Array, "..."]]:
        """The sum over outputs of every sample's coefficients, (N)."""
        return {"coefficient_sums": jnp.sum(state, axis=0)}

    def _logits(self, state: Float[Array, "outputs samples"]) -> Float[Array, "outputs samples"]:
        return self.initial.train + self.kernel.apply(state)
