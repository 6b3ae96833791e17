"""Block values of Θ and Θʰ, their ratios and eigenvalues, with standard errors."""

from __future__ import annotations

from collections.abc import Mapping

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ntkflow.kernels import BLOCK_RATIOS, BLOCK_VALUES, EIGENSPACES, NetworkBlockValues
from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.kernel_method import KERNELS, KernelMethod
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.variable import Variable, scalar

_TWO_DRAWS = (
    "Standard error for the population that the samples were drawn from: jackknife over samples, within classes, and "
    "the draw of random combinations of outputs where there are some, added in squares"
)


class BlockValueObservation(AbstractObservation):
    """d, c, n of the traced kernels and what follows from them under a block structure (paper 3, Definition 3.1).

    Eigenvalues are those of a block kernel with these values over the measured training samples, m of each class: the
    values are estimates for pairs of samples, and do not depend on how many there are. Errors that cannot be had, for
    fewer than 3 samples a class, are NaN, as are ratios of a kernel that is 0.
    """

    name: str = "block_values"
    kernels: KernelMethod = eqx.field(static=True, default_factory=KernelMethod)

    def variables(self, observed: Observed) -> tuple[Variable, ...]:
        """Seven for each kernel; rates and the step limit for the squared error only."""
        found: list[Variable] = []
        m, z = observed.per_class, observed.objective.loss_scale
        for of, prefix, symbol in KERNELS:
            kernel = f"{symbol}: {self.kernels.words(of, observed)}"

            def of_three(name: str, dim: str, definition: str, prefix: str = prefix) -> Variable:
                return Variable(f"{prefix}_{name}", (dim,), (3,), "", definition)

            found += [
                of_three(
                    "block_value",
                    "block_value",
                    "d, c, n: means over the diagonal, over pairs of distinct samples of one class (without the "
                    f"diagonal), and over pairs of samples of two classes, of {kernel}.",
                ),
                of_three("block_standard_error", "block_value", f"{_TWO_DRAWS}; of d, c, n of {kernel}."),
                of_three(
                    "block_output_error",
                    "block_value",
                    "Standard error of d, c, n from the draw of random combinations of outputs alone, for these very "
                    f"samples; 0 where the kernel is exact. Of {kernel}.",
                ),
                of_three(
                    "block_ratio", "block_ratio", f"c/d, n/d and (c − n)/d (paper 2, (23) and Fig. 4) of {kernel}."
                ),
                of_three(
                    "block_ratio_standard_error", "block_ratio", f"{_TWO_DRAWS}, by the delta method; of {kernel}."
                ),
                of_three(
                    "eigenvalue",
                    "eigenspace",
                    "λ_global = λ_class + N n, λ_class = λ_single + m(c − n), λ_single = d − c (paper 3, Table 1) "
                    f"with m = {m} and N = {observed.samples} of the measured training samples; d, c, n are those of "
                    f"{kernel}.",
                ),
                of_three("eigenvalue_standard_error", "eigenspace", f"{_TWO_DRAWS}; of the eigenvalues of {kernel}."),
            ]
        if observed.objective.loss == "squared_error":
            found += [
                Variable(
                    "rate",
                    ("eigenspace",),
                    (3,),
                    "1/time",
                    f"λ/Z with Z = {z:g} and λ the eigenvalues of Θ under its block values: the rates at which "
                    "gradient flow lets the parts of the residual decay; a step η of gradient descent multiplies them "
                    "by 1 − ηλ/Z (paper 3, (13)–(15)).",
                ),
                scalar(
                    "block_step_limit",
                    "time",
                    f"2Z/λ_max with Z = {z:g} and λ_max the largest eigenvalue of Θ under its block values: the "
                    "largest stable step of full-batch gradient descent on the residual under this constant kernel. "
                    "Infinite where no eigenvalue is positive.",
                ),
            ]
        return tuple(found)

    def coordinates(self, observed: Observed) -> dict[str, tuple[str, ...]]:
        """Values, ratios and eigenspaces."""
        return {"block_value": BLOCK_VALUES, "block_ratio": BLOCK_RATIOS, "eigenspace": EIGENSPACES}

    def measure(self, moment: Moment, reference: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
        """Raises as :meth:`KernelMethod.values`."""
        found: Arrays = {}
        for of, prefix, _ in KERNELS:
            measured = self.kernels.values(moment, of)
            found |= {f"{prefix}_{name}": value for name, value in _of_kernel(measured, moment.observed).items()}
        if moment.observed.objective.loss == "squared_error":
            z = moment.observed.objective.loss_scale
            eigenvalues = found["logit_eigenvalue"]
            top = eigenvalues.max()
            found["rate"] = eigenvalues / z
            found["block_step_limit"] = np.asarray(2 * z / top if top > 0 else np.inf)
        return found


def _of_kernel(measured: NetworkBlockValues, observed: Observed) -> Arrays:
    values, covariance = measured.values, measured.covariance
    d, c, n = values
    m, samples = observed.per_class, observed.samples
    if d != 0:
        to_ratios = np.array([[-c / d, 1, 0], [-n / d, 0, 1], [-(c - n) / d, 1, -1]]) / d
        ratios = np.array([c, n, c - n]) / d
    else:
        to_ratios, ratios = np.full((3, 3), np.nan), np.full(3, np.nan)
    to_eigenvalues = np.array([[1, m - 1, samples - m], [1, m - 1, -m], [1, -1, 0]], dtype=float)
    return {
        "block_value": values,
        "block_standard_error": np.sqrt(np.diagonal(covariance)),
        "block_output_error": np.sqrt(np.diagonal(measured.output_covariance)),
        "block_ratio": ratios,
        "block_ratio_standard_error": _errors(to_ratios, covariance),
        "eigenvalue": to_eigenvalues @ values,
        "eigenvalue_standard_error": _errors(to_eigenvalues, covariance),
    }


def _errors(jacobian: Float[np.ndarray, "3 3"], covariance: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    # Rounding may leave an exact block kernel's variance just below 0.
    return np.sqrt(np.maximum(np.diagonal(jacobian @ covariance @ jacobian.T), 0.0))
