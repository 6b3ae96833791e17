"""The invariant (26) of paper 3 with measured block values of Θʰ."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.flows import ClassState, InvariantSides
from ntkflow.kernels import BlockKernel
from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.collapse import readout_of
from ntkflow.training.observations.kernel_method import KernelMethod
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.variable import Variable

SAMPLES = ("training", "kernels")
"""On which samples H₁, H₂ and m are taken: all that are measured, or those of the kernels, as in paper 3."""

_WITH_ERRORS = ("norm", "relative_norm", "alignment", "zero_mean_alignment")
_QUANTITIES = {
    "norm": "‖E‖_F of E = WᵀW/m − [H₁(I − α11ᵀ)H₁ᵀ/μ_class + H₂H₂ᵀ/μ_single] (paper 3, (26); Fig. 2 a)",
    "relative_norm": "‖E‖_F/(‖weight side‖_F + ‖feature side‖_F) of E = weight side − feature side, WᵀW/m and "
    "H₁(I − α11ᵀ)H₁ᵀ/μ_class + H₂H₂ᵀ/μ_single (paper 3, (26)): 0 for E = 0, at most 1",
    "alignment": "⟨A, B⟩_F/(‖A‖_F ‖B‖_F) of A = WᵀW and B = H₁(I − α11ᵀ)H₁ᵀ/μ_class + H₂H₂ᵀ/μ_single, the two sides of "
    "(26): 1 where they are proportional, as collapse needs",
    "zero_mean_alignment": "⟨A, B⟩_F/(‖A‖_F ‖B‖_F) of A = WᵀW and B = H₁H₁ᵀ/μ_class + H₂H₂ᵀ/μ_single, paper 3's (28) "
    "with its sign corrected, which leaves the global mean out (Fig. 2 b)",
    "weight_side": "‖WᵀW/m‖_F, of (26)",
    "feature_side": "‖H₁(I − α11ᵀ)H₁ᵀ/μ_class + H₂H₂ᵀ/μ_single‖_F, of (26)",
    "between_side": "‖H₁(I − α11ᵀ)H₁ᵀ/μ_class‖_F, of (26)",
    "within_side": "‖H₂H₂ᵀ/μ_single‖_F, of (26)",
}


class InvariantObservation(AbstractObservation):
    """E and its two sides, with κ_d, κ_c, κ_n as they were measured at this moment; in float64.

    E depends on m: with many samples a class the within-class term outweighs the others, which fall as 1/m. So it is
    given twice, for the measured training samples and for those of the kernels. κ is that of the kernels' samples in
    both. Where μ_class or μ_single is not positive there is no invariant: NaN. Standard errors are those of κ (delta
    method), with H and W as they are.
    """

    name: str = "invariant"
    kernels: KernelMethod = eqx.field(static=True, default_factory=KernelMethod)

    def variables(self, observed: Observed) -> tuple[Variable, ...]:
        """Eight, and the standard errors of four of them, for both kinds of samples."""
        kernel = self.kernels.words("features", observed)
        where = (
            f"H₁ and H₂ of [training] {observed.of_training} and [kernels] {observed.of_kernels}, with μ_class = κ_d − "
            "κ_c + m(κ_c − κ_n), μ_single = κ_d − κ_c, α = κ_n m/(μ_class + C κ_n m) for their m, and κ the block "
            f"values of {kernel}."
        )
        found = [Variable(name, ("sample",), (2,), "", f"{text}. {where}") for name, text in _QUANTITIES.items()]
        error = "Standard error from that of κ, by the delta method, of"
        found += [
            Variable(f"{name}_standard_error", ("sample",), (2,), "", f"{error} {_QUANTITIES[name]}. {where}")
            for name in _WITH_ERRORS
        ]
        return tuple(found)

    def coordinates(self, observed: Observed) -> dict[str, tuple[str, ...]]:
        """The two kinds of samples."""
        return {"sample": SAMPLES}

    def measure(self, moment: Moment, reference: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
        """Raises as :meth:`KernelMethod.values`."""
        measured, classes = self.kernels.values(moment, "features"), moment.observed.classes
        weight, bias = readout_of(moment.network)
        found: dict[str, list[float]] = {}
        for outputs in (moment.training, moment.kernel_sample):
            m = outputs.features.shape[1] // classes
            state = _class_state(outputs.features, weight, bias, classes)
            values, derivatives = _of_state(state, jnp.asarray(measured.values), classes=classes, per_class=m)
            kernel = BlockKernel(*measured.values, classes=classes, per_class=m)
            there = float(kernel.lambda_class) > 0 and (m == 1 or float(kernel.lambda_single) > 0)
            for name in _QUANTITIES:
                found.setdefault(name, []).append(float(values[name]) if there else np.nan)
            for name in _WITH_ERRORS:
                gradient = np.asarray(derivatives[name])
                variance = gradient @ measured.covariance @ gradient
                error = float(np.sqrt(max(variance, 0.0))) if there and np.isfinite(variance) else np.nan
                found.setdefault(f"{name}_standard_error", []).append(error)
        return {
            name: np.array(found[name]) for name in (*_QUANTITIES, *(f"{name}_standard_error" for name in _WITH_ERRORS))
        }


def _class_state(
    features: Float[np.ndarray, "features samples"],
    weight: Float[np.ndarray, "classes features"],
    bias: Float[np.ndarray, " classes"],
    classes: int,
) -> ClassState:
    """H₁, W, b, and in the place of H₂ a factor of H₂H₂ᵀ with at most n columns, from a QR decomposition."""
    by_class = features.reshape(len(features), classes, -1)
    means = by_class.mean(axis=-1)
    within = (by_class - means[:, :, None]).reshape(len(features), -1) / np.sqrt(by_class.shape[-1])
    factor = np.asarray(np.linalg.qr(within.T, mode="r")).T
    return ClassState(jnp.asarray(means), jnp.asarray(factor), jnp.asarray(weight), jnp.asarray(bias))


@functools.partial(jax.jit, static_argnames=("classes", "per_class"))
def _of_state(
    state: ClassState, values: Float[Array, "3"], *, classes: int, per_class: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The quantities, and their derivatives with respect to κ_d, κ_c, κ_n."""

    def quantities(values: Float[Array, "3"]) -> tuple[dict[str, Array], dict[str, Array]]:
        kernel = BlockKernel(values[0], values[1], values[2], classes=classes, per_class=per_class)
        sides = InvariantSides.of(state, kernel)
        scatter = (
            state.within @ state.within.T / kernel.lambda_single if per_class > 1 else jnp.zeros_like(sides.weight_side)
        )
        zero_mean = InvariantSides(
            sides.weight_side, state.class_means @ state.class_means.T / kernel.lambda_class + scatter
        )
        found = {
            "norm": sides.norm,
            "relative_norm": sides.norm / sides.scale,
            "alignment": sides.alignment,
            "zero_mean_alignment": zero_mean.alignment,
            "weight_side": jnp.linalg.norm(sides.weight_side),
            "feature_side": jnp.linalg.norm(sides.feature_side),
            "between_side": jnp.linalg.norm(sides.feature_side - scatter),
            "within_side": jnp.linalg.norm(scatter),
        }
        return {name: found[name] for name in _WITH_ERRORS}, found

    derivatives, found = jax.jacfwd(quantities, has_aux=True)(values)
    return found, derivatives
