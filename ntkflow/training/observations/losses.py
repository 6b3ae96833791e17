"""Losses and accuracies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.variable import Variable, scalar

SPLITS = ("train", "test")
"""The order of training and test samples."""


class LossObservation(AbstractObservation):
    """Losses and accuracies of training and test samples. Passes in the network's precision, sums in float64."""

    name: str = "losses"

    def variables(self, observed: Observed) -> tuple[Variable, ...]:
        """Five for training and test samples, and one more where true labels are known."""
        z = observed.objective.loss_scale
        samples = f"Training: {observed.of_training}; test: {observed.of_tests}."
        scaled = f"Z = {z:g} for the training samples; for others it is in proportion to their number"

        def of_splits(name: str, units: str, definition: str) -> Variable:
            return Variable(name, ("split",), (2,), units, f"{definition} {samples}")

        found = (
            of_splits("loss", "", f"Loss as trained, without weight decay: {observed.objective}; {scaled}."),
            of_splits("squared_error", "", f"Squared error ‖f(X) − Y‖²_F/(2Z) against the encoded targets; {scaled}."),
            of_splits("cross_entropy", "nats", "Cross-entropy −log softmax(f(x))_y, mean over samples."),
            of_splits("accuracy", "", "Share of samples whose largest logit is that of their class."),
            of_splits("misclassified", "samples", "Number of samples whose largest logit is not that of their class."),
        )
        if observed.true_labels is None:
            return found
        true = "Share of samples whose largest logit is that of their true class, which label noise has not changed, of"
        return (*found, scalar("true_accuracy", "", f"{true} {observed.of_training}."))

    def coordinates(self, observed: Observed) -> dict[str, tuple[str, ...]]:
        """Training and test."""
        return {"split": SPLITS}

    def measure(self, moment: Moment, reference: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
        """Where there are no test samples, their values are NaN."""
        observed = moment.observed
        logits = moment.training.logits
        parts = [_of_samples(logits, observed.labels, observed)]
        parts.append(_of_samples(moment.test.logits, np.asarray(observed.test_labels), observed))
        found: Arrays = {name: np.array([part[name] for part in parts]) for name in parts[0]}
        if observed.true_labels is not None:
            found["true_accuracy"] = np.asarray(np.mean(logits.argmax(axis=0) == np.asarray(observed.true_labels)))
        return found


def _of_samples(
    logits: Float[np.ndarray, "classes samples"], labels: Int[np.ndarray, " samples"], observed: Observed
) -> dict[str, float]:
    samples = labels.size
    if not samples:
        return dict.fromkeys(("loss", "squared_error", "cross_entropy", "accuracy", "misclassified"), np.nan)
    targets = np.asarray(observed.targets, dtype=float)[:, labels]
    scale = observed.objective.scaled(samples, observed.samples).loss_scale
    squared = float(np.sum((logits - targets) ** 2)) / (2 * scale)
    shifted = logits - logits.max(axis=0)
    log_sum = np.log(np.sum(np.exp(shifted), axis=0))
    entropy = float(np.sum(log_sum - shifted[labels, np.arange(samples)]))
    wrong = int(np.sum(logits.argmax(axis=0) != labels))
    return {
        "loss": squared if observed.objective.loss == "squared_error" else entropy / scale,
        "squared_error": squared,
        "cross_entropy": entropy / samples,
        "accuracy": 1 - wrong / samples,
        "misclassified": float(wrong),
    }
