"""Residual parts by projectors, raw norms and metrics by loops over samples."""

from __future__ import annotations

import numpy as np
import pytest
from training.observations.cases import (
    CASES,
    CLASSES,
    EXACT,
    LABELS,
    SAMPLES,
    TARGETS,
    M,
    close,
    moment,
    observed,
    plain_outputs,
    readout,
    values,
)

from ntkflow.collapse import METRICS
from ntkflow.training.observations import CollapseObservation


@pytest.mark.parametrize("case", CASES)
def test_parts_are_projections(case: str) -> None:
    residual = plain_outputs(case)[1] - TARGETS[:, LABELS]
    everyone = np.full((SAMPLES, SAMPLES), 1 / SAMPLES)
    classes = np.array([[float(a == b) / M for b in LABELS] for a in LABELS])
    projectors = (everyone, classes - everyone, np.eye(SAMPLES) - classes)
    found = values(case)["residuals"]
    close(found["residual_norm"], [np.sqrt(np.sum((residual @ p) ** 2)) for p in projectors], EXACT[case])
    close(found["residual_total"], np.sqrt(np.sum(residual**2)), EXACT[case])
    close(found["residual_class_mean"], (residual @ classes)[:, ::M], EXACT[case])


def raw(features: np.ndarray, weight: np.ndarray, m: int) -> dict[str, float]:
    """Each from its sum over samples or classes, one after the other."""
    n = len(features)
    samples = [[features[:, c * m + i] for i in range(m)] for c in range(CLASSES)]
    means = [sum(of_class) / m for of_class in samples]
    mean = sum(means) / CLASSES
    scatter, between, first = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    for c in range(CLASSES):
        first += np.outer(means[c], means[c])
        between += np.outer(means[c] - mean, means[c] - mean)
        for h in samples[c]:
            scatter += np.outer(h - means[c], h - means[c])
    unit = np.stack([(h - mean) / np.sqrt((h - mean) @ (h - mean)) for h in means], axis=1)
    etf = np.eye(CLASSES) - 1 / CLASSES
    gram = unit.T @ unit
    return {
        "trace_within": np.trace(scatter) / (m * CLASSES),
        "trace_between": np.trace(between) / CLASSES,
        "class_mean_norm": np.sqrt(np.sum(first**2)),
        "within_norm": np.sqrt(np.sum((scatter / m) ** 2)),
        "global_mean_norm": np.sqrt(np.sum(np.outer(mean, mean) ** 2)),
        "nc1_trace_ratio": np.trace(scatter) / m / np.trace(between),
        "nc1_pinv": np.trace(scatter / m @ np.linalg.pinv(between, rcond=1e-9)) / CLASSES,
        "nc2_etf_distance": np.linalg.norm(gram / np.linalg.norm(gram) - etf / np.linalg.norm(etf)),
        "nc3_unit_means": np.linalg.norm(weight.T / np.linalg.norm(weight) - unit / np.linalg.norm(unit)),
        "nc1_within_std": np.mean([[np.std([h[p] for h in of_class]) for of_class in samples] for p in range(n)]),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("per_class", [None, 3])
def test_norms_and_metrics(case: str, per_class: int | None) -> None:
    features, weight = plain_outputs(case)[0], readout(case)[0]
    m = per_class or M
    part = features.reshape(len(features), CLASSES, M)[:, :, :m].reshape(len(features), -1)
    observation = CollapseObservation(per_class=per_class)
    found = values(case)["collapse"] if per_class is None else observation.measure(moment(case, 1), {})
    for name, value in raw(part, weight, m).items():
        close(found[name], value, 20 * EXACT[case])
    means = part.reshape(len(part), CLASSES, m).mean(axis=-1)
    close(found["class_mean_gram"], means.T @ means, EXACT[case])
    close(found["weight_gram"], weight @ weight.T, EXACT[case])
    close(found["weight_norm"], np.sqrt(np.sum(weight**2)), EXACT[case])
    close(found["bias"], readout(case)[1], EXACT[case])
    close(found["bias_norm"], np.sqrt(np.sum(readout(case)[1] ** 2)), EXACT[case])
    assert set(METRICS) < set(found)
    said = {variable.name: variable.long_name for variable in observation.variables(observed(case))}
    assert all(said[name].startswith(METRICS[name]) for name in METRICS)
    assert ("the first 3 of each class" in said["trace_within"]) == (per_class == 3)


@pytest.mark.parametrize("per_class", [0, 6])
def test_more_than_there_are(per_class: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and 5 samples of each class can be taken, not {per_class}"):
        CollapseObservation(per_class=per_class).variables(observed("mlp"))
