"""Sharpness and step limits: where gradient descent stands against the edge of stability."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ntkflow.data import first_of_each
from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.curvature import Curvature, Part
from ntkflow.training.observations.lanczos import largest_eigenvalue
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.variable import Variable, scalar


class SharpnessObservation(AbstractObservation):
    """λ_max of the loss's Hessian and of its Gauss–Newton part, by Lanczos from the same random start at every moment.

    Full-batch gradient descent with step η on a quadratic loss is stable below λ_max = 2/η; with momentum β below
    2(1 + β)/η, with Nesterov's below 2(1 + β)/((1 + 2β)η) (Cohen et al. 2021). With mini-batches these are landmarks,
    no thresholds. Weight decay is not in the loss that is measured: λ‖θ‖²/2 moves every eigenvalue up by λ. Nor is the
    training mode of batch normalisation: derivatives are those with the stored statistics held constant.

    Attributes:
        per_class: the first so many training samples of each class; all of them for ``None``. Z is scaled by their
            number, so that a part gives an estimate for all.
        tolerance: Lanczos stops once an eigenvalue is known to lie within this share of the value. In float32 products
            are known to about 1e-6 only.
        cap: products with the matrix at most.
        momentum: β of the optimiser.
        nesterov: whether it is Nesterov's.
    """

    name: str = "sharpness"
    per_class: int | None = None
    tolerance: float = 1e-3
    cap: int = 100
    momentum: float = 0.0
    nesterov: bool = False

    def variables(self, observed: Observed) -> tuple[Variable, ...]:
        """Nine numbers."""
        m = observed.per_class if self.per_class is None else self.per_class
        objective = observed.objective.scaled(m, observed.per_class)
        whole = (
            observed.of_training
            if m == observed.per_class
            else f"the first {m} of each class of {observed.of_training}"
        )
        loss = f"the loss {objective}, of {whole}, without weight decay, stored statistics held constant"
        lanczos = f"Lanczos, relative residual {self.tolerance:g}, at most {self.cap} products, a fixed random start"
        gauss_newton = "the Gauss–Newton matrix Jᵀ(∂²ℓ/∂f²)J"
        same = f"; for the squared error λ_max(Θ)/Z over all outputs and samples, Z = {objective.loss_scale:g}"
        beta = f"β = {self.momentum:g}"
        threshold = (
            "2/η"
            if not self.momentum
            else f"2(1 + β)/((1 + 2β)η), {beta}, Nesterov's momentum"
            if self.nesterov
            else f"2(1 + β)/η, {beta}"
        )
        distance = (
            "An eigenvalue lies within this distance of the value found: the residual of its Ritz vector; for the"
        )
        return (
            scalar("sharpness", "1/time", f"Largest eigenvalue of the Hessian ∇²L of {loss}. {lanczos}."),
            scalar("sharpness_error", "1/time", f"{distance} Hessian of {loss}."),
            scalar("sharpness_products", "products", f"Products with the Hessian that it took. {lanczos}."),
            scalar("gauss_newton", "1/time", f"Largest eigenvalue of {gauss_newton} of {loss}{same}. {lanczos}."),
            scalar("gauss_newton_error", "1/time", f"{distance} Gauss–Newton matrix of {loss}."),
            scalar(
                "gauss_newton_products", "products", f"Products with the Gauss–Newton matrix that it took. {lanczos}."
            ),
            scalar(
                "step_limit",
                "time",
                f"2/λ_max of {gauss_newton}: the largest stable step of full-batch gradient descent under the present "
                f"kernel; for the squared error 2Z/λ_max(Θ), Z = {objective.loss_scale:g}. Of {loss}.",
            ),
            scalar("two_over_step_size", "1/time", "2/η with η the optimiser's step size at this moment."),
            scalar(
                "stability_threshold",
                "1/time",
                f"{threshold}: the sharpness above which the full-batch optimiser is unstable on a quadratic loss.",
            ),
        )

    def measure(self, moment: Moment, reference: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
        """Where derivatives are not finite, values are NaN."""
        observed = moment.observed
        inputs, objective = observed.inputs, observed.objective
        if self.per_class is not None:
            inputs = first_of_each(inputs, observed.classes, self.per_class)
            objective = objective.scaled(self.per_class, observed.per_class)
        found: dict[str, float] = {}
        parts: tuple[tuple[str, Part], ...] = (("sharpness", "hessian"), ("gauss_newton", "gauss_newton"))
        for name, part in parts:
            curvature = Curvature(moment.network, inputs, observed.targets, objective, observed.piece, part)
            top = largest_eigenvalue(curvature.product, curvature.start(), tolerance=self.tolerance, cap=self.cap)
            found |= {name: top.value, f"{name}_error": top.error, f"{name}_products": float(top.products)}
        limit = found["gauss_newton"]
        found["step_limit"] = 2 / limit if limit > 0 else np.inf if limit == 0 else np.nan
        eta, beta = moment.step_size, self.momentum
        found["two_over_step_size"] = 2 / eta if eta else np.inf
        found["stability_threshold"] = stability_threshold(eta, beta, nesterov=self.nesterov)
        return {name: np.asarray(value) for name, value in found.items()}


def stability_threshold(step_size: float, momentum: float = 0.0, *, nesterov: bool = False) -> float:
    """The largest curvature of a quadratic loss at which gradient descent is stable; infinite for a step of 0.

    2(1 + β)/η for v ← βv − η∇L, θ ← θ + v; 2(1 + β)/((1 + 2β)η) for Nesterov's form of it, v ← βv + ∇L,
    θ ← θ − η(∇L + βv).
    """
    if not step_size:
        return float("inf")
    return 2 * (1 + momentum) / ((1 + 2 * momentum if nesterov else 1) * step_size)
