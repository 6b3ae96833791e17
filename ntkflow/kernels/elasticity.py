"""Local elasticity: how much a gradient step at one sample moves the prediction at another."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.kernels.estimates import BlockEstimate, estimate_block_values
from ntkflow.kernels.requirements import refuse_not_finite, several_of_a_class


def relative_similarity(matrix: Float[Array, "*stack samples samples"]) -> Float[Array, "*stack samples samples"]:
    """S_ij = |Θ(xᵢ, xⱼ)|/Θ(xᵢ, xᵢ): the change at xⱼ over the change at xᵢ, by a small gradient step at xᵢ.

    He and Su 2020 (The local elasticity of neural networks) call |f⁺(x') − f(x')|/|f⁺(x) − f(x)|, with f⁺ after a step
    of stochastic gradient descent at x, the relative similarity. To first order in the step size it is S, whatever the
    loss: for one output, and for several where Θ_{k,s} = δ_{ks}Θ (paper 3, Assumption 3.2). Otherwise the loss decides
    too, see :func:`step_similarity`. Not symmetric. The diagonal is 1.

    Raises:
        ValueError: a kernel that is not finite, or with a value on the diagonal that is not positive: a step at that
            sample does not move it. (NaN there under ``jit``.)
    """
    refuse_not_finite(matrix)
    diagonal = jnp.diagonal(matrix, axis1=-2, axis2=-1)
    if not isinstance(matrix, Tracer) and bool(jnp.any(diagonal <= 0)):
        place = tuple(int(index) for index in np.argwhere(np.asarray(diagonal) <= 0)[0])
        raise ValueError(
            f"the kernel's diagonal is {np.asarray(diagonal)[place]:.3g} at sample {place[-1]}: a step there does not "
            "move the prediction there, and relative similarity is undefined; leave that sample out"
        )
    return jnp.abs(matrix) / jnp.where(diagonal > 0, diagonal, jnp.nan)[..., :, None]


def step_similarity(
    kernel: Float[Array, "outputs samples outputs samples"], loss_gradients: Float[Array, "outputs samples"]
) -> Float[Array, "samples samples"]:
    """‖Θ(xⱼ, xᵢ) gᵢ‖/‖Θ(xᵢ, xᵢ) gᵢ‖: relative similarity of the vector of all outputs, g = ∂L(xᵢ)/∂f(xᵢ).

    By paper 3, (6), f changes at xⱼ by −η Θ(xⱼ, xᵢ)gᵢ + O(η²) in a gradient step η at xᵢ. For the squared error g is
    the residual. Row i is the sample of the step.

    Raises:
        ValueError: a kernel or gradients that are not finite. A sample whose step does not move it, fitted exactly for
            example, has a row of NaN, which :func:`elasticity_of` refuses.
    """
    refuse_not_finite(kernel)
    refuse_not_finite(loss_gradients, "the gradient of the loss")
    change = jnp.linalg.norm(jnp.einsum("kjsi,si->ijk", kernel, loss_gradients), axis=-1)
    own = jnp.diagonal(change)
    return change / jnp.where(own > 0, own, jnp.nan)[:, None]


@dataclasses.dataclass(frozen=True)
class LocalElasticity:
    """Mean relative similarity of pairs of distinct samples of one class and of two classes.

    Attributes:
        block: the means over the diagonal (which is 1), same-class pairs and different-class pairs, with the jackknife
            covariance over samples. NaN for m = 2.
    """

    block: BlockEstimate

    @property
    def same_class(self) -> float:
        """Mean of S over ordered pairs of distinct samples of one class."""
        return float(self.block.values[1])

    @property
    def different_class(self) -> float:
        """Mean of S over ordered pairs of samples of two classes."""
        return float(self.block.values[2])

    @property
    def difference(self) -> float:
        """Same-class mean minus different-class mean: 0 for a network blind to classes."""
        return self.same_class - self.different_class

    @property
    def ratio(self) -> float:
        """Different-class mean over same-class mean: 0 where classes do not touch each other, 1 where blind to them.

        NaN where no pair of one class is coupled either: the ratio is undefined.
        """
        return self.different_class / self.same_class if self.same_class > 0 else math.nan

    @property
    def standard_errors(self) -> Float[np.ndarray, "2"]:
        """Jackknife standard errors of the same-class and the different-class mean."""
        return self.block.standard_errors[1:]

    @property
    def difference_standard_error(self) -> float:
        """Standard error of the difference, from the jackknife covariance of the two means."""
        return self._propagated(np.array([1.0, -1.0]))

    @property
    def ratio_standard_error(self) -> float:
        """Standard error of the ratio by the delta method; NaN where the ratio is."""
        return self._propagated(np.array([-self.ratio, 1.0]) / self.same_class) if self.same_class > 0 else math.nan

    def _propagated(self, derivative: Float[np.ndarray, "2"]) -> float:
        # Rounding may leave an exact block kernel's variance just below 0.
        variance = float(derivative @ self.block.covariance[1:, 1:] @ derivative)
        return math.nan if math.isnan(variance) else math.sqrt(max(variance, 0.0))

    def __str__(self) -> str:
        same, different = self.standard_errors
        ratio = "undefined" if math.isnan(self.ratio) else f"{self.ratio:.4g} ± {self.ratio_standard_error:.2g}"
        return (
            f"LocalElasticity(same class {self.same_class:.4g} ± {same:.2g}, "
            f"different class {self.different_class:.4g} ± {different:.2g}, ratio {ratio})"
        )


def local_elasticity(matrix: Float[Array, "samples samples"], classes: int) -> LocalElasticity:
    """Means of the relative similarity of a kernel over samples sorted by class, with jackknife errors.

    Raises:
        ValueError: as :func:`relative_similarity`; classes that are not of one size of at least 2 (with one sample a
            class the same-class mean is over no pair).
    """
    several_of_a_class(matrix.shape[-1], classes, "the same-class mean")
    return elasticity_of(relative_similarity(matrix), classes)


def elasticity_of(similarity: Float[Array, "samples samples"], classes: int) -> LocalElasticity:
    """Means and errors of any matrix of similarities, such as that of :func:`step_similarity`.

    Raises:
        ValueError: classes as in :func:`local_elasticity`, or similarities that are not finite.
    """
    several_of_a_class(similarity.shape[-1], classes, "the same-class mean")
    refuse_not_finite(similarity, "the similarity", remedy="a step at that sample does not move it: leave it out")
    # A mean over ordered pairs is that of the symmetric part, also with a sample left out: the jackknife needs it so.
    return LocalElasticity(estimate_block_values(0.5 * (similarity + similarity.T), classes))
