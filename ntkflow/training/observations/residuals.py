"""The residual's parts in the three eigenspaces of block kernels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ntkflow.kernels import EIGENSPACES
from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.variable import Variable, scalar


class ResidualObservation(AbstractObservation):
    """Norms of the parts of R = f(X) − Y, as :func:`ntkflow.kernels.split_eigenspaces` splits it; in float64.

    For cross-entropy as well: R is then the distance of the logits from the encoded targets, which nothing drives to 0.
    """

    name: str = "residuals"

    def variables(self, observed: Observed) -> tuple[Variable, ...]:
        """Norms of the parts and of the whole, and the means themselves."""
        z, samples = f"Z = {observed.objective.loss_scale:g}", observed.of_training
        classes = observed.classes
        return (
            Variable(
                "residual_norm",
                ("eigenspace",),
                (3,),
                "",
                "Frobenius norms of the parts of R = f(X) − Y in the eigenspaces of block kernels: R_global (the mean "
                "over all samples, repeated N times), the class means minus it (repeated m times), and what is left "
                f"within the classes; their squares add to ‖R‖²_F, and the squared error is ‖R‖²_F/(2Z), {z}. "
                f"Of {samples}.",
            ),
            scalar(
                "residual_total", "", f"‖R‖_F of R = f(X) − Y. Of {samples}; the squared error is ‖R‖²_F/(2Z), {z}."
            ),
            Variable(
                "residual_class_mean",
                ("output", "class"),
                (classes, classes),
                "",
                "R₁: column c is the mean of R = f(X) − Y over the samples of class c, global mean included. "
                f"Of {samples}.",
            ),
        )

    def coordinates(self, observed: Observed) -> dict[str, tuple[str, ...]]:
        """The eigenspaces."""
        return {"eigenspace": EIGENSPACES}

    def measure(self, moment: Moment, reference: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
        """In NumPy: means of means, so that the parts are orthogonal to rounding."""
        observed = moment.observed
        residual = moment.training.logits - observed.target_matrix
        by_class = residual.reshape(observed.classes, observed.classes, observed.per_class)
        class_mean = by_class.mean(axis=-1)
        global_mean = class_mean.mean(axis=-1)
        parts = (
            np.sqrt(observed.samples) * np.linalg.norm(global_mean),
            np.sqrt(observed.per_class) * np.linalg.norm(class_mean - global_mean[:, None]),
            np.linalg.norm(by_class - class_mean[:, :, None]),
        )
        return {
            "residual_norm": np.array(parts),
            "residual_total": np.asarray(np.linalg.norm(residual)),
            "residual_class_mean": class_mean,
        }
