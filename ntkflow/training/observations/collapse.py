"""Neural-collapse metrics, and the raw norms and traces that they are made of."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ntkflow.collapse import METRICS, collapse_metrics
from ntkflow.networks import AbstractClassifier
from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.variable import Variable, scalar

_metrics = jax.jit(collapse_metrics)


class CollapseObservation(AbstractObservation):
    """Metrics of :data:`ntkflow.collapse.METRICS` of training features, and what they are made of.

    Features are those of the network's precision; all that follows is in float64. Paper 3 measured them on the last
    batch (its appendix C): ``per_class=12`` is a sample of that size.

    Attributes:
        per_class: the first so many training samples of each class; all of them for ``None``.
    """

    name: str = "collapse"
    per_class: int | None = None

    def variables(self, observed: Observed) -> tuple[Variable, ...]:
        """The metrics by name, then the raw values."""
        classes, m = observed.classes, self._size(observed)
        samples = (
            f"Of {observed.of_training}."
            if m == observed.per_class
            else f"Of the first {m} of each class of {observed.of_training}."
        )
        means = "⟨h⟩_c the class means of the last-layer features, ⟨h⟩ their mean"
        metrics = [scalar(name, "", f"{definition} {samples}") for name, definition in METRICS.items()]
        return (
            *metrics,
            scalar("trace_within", "", f"Tr Σ_W = (1/N) Σ_{{c,i}} ‖h_i − ⟨h⟩_c‖², {means}. {samples}"),
            scalar("trace_between", "", f"Tr Σ_B = (1/C) Σ_c ‖⟨h⟩_c − ⟨h⟩‖², {means}. {samples}"),
            scalar(
                "class_mean_norm",
                "",
                f"‖H₁H₁ᵀ‖_F with H₁ = [⟨h⟩_1, …, ⟨h⟩_C], not centred (paper 3, Figs. 3–12, pane i). {samples}",
            ),
            scalar(
                "within_norm",
                "",
                "‖H₂H₂ᵀ‖_F with H₂H₂ᵀ = (1/m) Σ_{c,i} (h_i − ⟨h⟩_c)(h_i − ⟨h⟩_c)ᵀ, the sum over classes of their "
                f"covariances normalised by m (paper 3, (23); Figs. 3–12, pane i). {samples}",
            ),
            scalar("global_mean_norm", "", f"‖⟨h⟩⟨h⟩ᵀ‖_F = ‖⟨h⟩‖² (paper 3, Figs. 3–12, pane i), {means}. {samples}"),
            scalar("weight_norm", "", "‖W‖_F of the readout's weights W."),
            scalar("bias_norm", "", "‖b‖ of the readout's biases b."),
            Variable(
                "bias", ("class",), (classes,), "", "b, the readout's biases; 1/C each at collapse (Theorem 5.2)."
            ),
            Variable(
                "class_mean_gram",
                ("class", "other_class"),
                (classes, classes),
                "",
                f"H₁ᵀH₁: inner products ⟨⟨h⟩_c, ⟨h⟩_c'⟩ of the class means, not centred. {samples}",
            ),
            Variable(
                "weight_gram",
                ("class", "other_class"),
                (classes, classes),
                "",
                "WWᵀ: inner products of the rows of the readout's weights.",
            ),
        )

    def measure(self, moment: Moment, reference: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
        """Metrics without meaning are NaN, as where all features are 0."""
        observed = moment.observed
        features, m = moment.training.features, self._size(observed)
        by_class = features.reshape(features.shape[0], observed.classes, observed.per_class)[:, :, :m]
        weight, bias = readout_of(moment.network)
        metrics = _metrics(jnp.asarray(by_class.reshape(len(features), -1)), jnp.asarray(weight), jnp.asarray(bias))
        class_means = by_class.mean(axis=-1)
        mean = class_means.mean(axis=1)
        within = (by_class - class_means[:, :, None]).reshape(len(features), -1)
        centred = class_means - mean[:, None]
        raw = {
            "trace_within": np.sum(within**2) / within.shape[1],
            "trace_between": np.sum(centred**2) / observed.classes,
            "class_mean_norm": np.linalg.norm(class_means.T @ class_means),
            "within_norm": np.linalg.norm(within @ within.T) / m,
            "global_mean_norm": np.sum(mean**2),
            "weight_norm": np.linalg.norm(weight),
            "bias_norm": np.linalg.norm(bias),
            "bias": bias,
            "class_mean_gram": class_means.T @ class_means,
            "weight_gram": weight @ weight.T,
        }
        found = {name: np.asarray(metrics[name], dtype=float) for name in METRICS}
        return found | {name: np.asarray(value) for name, value in raw.items()}

    def _size(self, observed: Observed) -> int:
        m = observed.per_class if self.per_class is None else self.per_class
        if not 1 <= m <= observed.per_class:
            raise ValueError(f"between 1 and {observed.per_class} samples of each class can be taken, not {m}")
        return m


def readout_of(
    network: AbstractClassifier,
) -> tuple[Float[np.ndarray, "classes features"], Float[np.ndarray, " classes"]]:
    """W and b in float64."""
    readout = network.readout
    return np.asarray(readout.weight, dtype=float), np.asarray(readout.bias, dtype=float)
