"""Every collapse metric against its definition, by loops over classes, samples and pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.collapse import CLASS_METRICS, METRICS, class_metrics, collapse_metrics
from ntkflow.flows import ClassState, SampleState

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]

# (classes, samples a class, features): also fewer features than classes have directions, and one sample a class.
SHAPES = [(4, 5, 6), (4, 5, 2), (2, 3, 5), (3, 1, 4)]


def metrics(arrays: Arrays) -> dict[str, float]:
    return {name: float(value) for name, value in jax.jit(collapse_metrics)(*map(jnp.asarray, arrays)).items()}


def random_arrays(seed: int, classes: int, m: int, features: int) -> Arrays:
    generator = np.random.default_rng(seed)
    h = np.repeat(generator.standard_normal((features, classes)), m, axis=1) + 0.7
    h = h + 0.6 * generator.standard_normal((features, classes * m))
    return h, generator.standard_normal((classes, features)), generator.standard_normal(classes)


def by_definition(arrays: Arrays) -> dict[str, float]:
    """All metrics from the words in METRICS, one class, sample and pair at a time."""
    h, w, b = arrays
    classes, samples = len(w), h.shape[1]
    m = samples // classes
    members = [[h[:, i] for i in range(samples) if i // m == c] for c in range(classes)]
    means = [np.mean(group, axis=0) for group in members]
    overall = np.mean(means, axis=0)
    centred = [mean - overall for mean in means]
    pairs = [(a, c) for a in range(classes) for c in range(classes) if a != c]

    sigma_w = sum(np.outer(x - means[c], x - means[c]) for c in range(classes) for x in members[c]) / samples
    sigma_b = sum(np.outer(x, x) for x in centred) / classes
    spread = [np.mean([np.sum((x - means[c]) ** 2) for x in members[c]]) for c in range(classes)]
    unit = np.stack([x / np.linalg.norm(x) for x in centred], axis=1)
    gram = unit.T @ unit
    etf = np.eye(classes) - np.ones((classes, classes)) / classes
    lengths = [np.linalg.norm(x) for x in centred]
    cosines = {(a, c): centred[a] @ centred[c] / (lengths[a] * lengths[c]) for a, c in pairs}

    def direction(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x)

    wrong = 0
    for x in h.T:
        nearest = min(range(classes), key=lambda c: np.linalg.norm(x - means[c]))
        logits = [w[c] @ x + b[c] for c in range(classes)]
        wrong += logits.index(max(logits)) != nearest
    return {
        "nc1_within_std": np.mean([np.std(np.array(group)[:, p]) for group in members for p in range(len(h))]),
        "nc1_trace_ratio": np.trace(sigma_w) / np.trace(sigma_b),
        "nc1_pinv": np.trace(sigma_w @ np.linalg.pinv(sigma_b, rcond=1e-10)) / classes,
        "nc1_cdnv": np.mean([(spread[a] + spread[c]) / (2 * np.sum((means[a] - means[c]) ** 2)) for a, c in pairs]),
        "nc2_etf_distance": np.linalg.norm(direction(gram) - direction(etf)),
        "nc2_norm_variation": np.std(lengths) / np.mean(lengths),
        "nc2_angle_deviation": np.sqrt(np.mean([(cosines[pair] + 1 / (classes - 1)) ** 2 for pair in pairs])),
        "nc3_unit_means": np.linalg.norm(direction(w.T) - direction(unit)),
        "nc3_means": np.linalg.norm(direction(w.T) - direction(np.stack(centred, axis=1))),
        "nc4_disagreement": wrong / samples,
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_against_the_definitions(shape: tuple[int, int, int]) -> None:
    for seed in range(3):
        arrays = random_arrays(seed, *shape)
        actual, expected = metrics(arrays), by_definition(arrays)
        assert actual.keys() == expected.keys() == METRICS.keys()
        for name, value in expected.items():
            assert abs(actual[name] - value) <= 1e-12 * (1 + value), name
    # Not all of it is 0 or 1.
    assert 0 < actual["nc4_disagreement"] < 1 or shape[1] == 1


def collapsed(classes: int, m: int, features: int, scale: float = 1.7) -> Arrays:
    """A simplex ETF anywhere in feature space, no scatter, W a multiple of the class means."""
    generator = np.random.default_rng(0)
    frame = np.linalg.qr(generator.standard_normal((features, features)))[0][:, :classes]
    means = frame @ (np.eye(classes) - 1 / classes)
    return np.repeat(scale * means, m, axis=1), 0.3 * means.T, np.full(classes, 1 / classes)


@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_all_vanish_at_collapse(offset: float) -> None:
    """A common offset of the features is no part of it, if the biases make up for it."""
    h, w, b = collapsed(4, 5, 6)
    shift = np.full(6, offset)
    for name, value in metrics((h + shift[:, None], w, b - w @ shift)).items():
        assert abs(value) <= 1e-14, name


def test_every_metric_notices_its_own_part_of_collapse() -> None:
    """Scatter raises NC1 alone; unequal lengths, turned means and turned weights raise NC2 and NC3."""
    h, w, b = collapsed(4, 5, 6)
    away = np.random.default_rng(1).standard_normal((6, 4, 5))
    away = (away - away.mean(axis=2, keepdims=True)).reshape(6, 20)
    values = metrics((h + 0.05 * away, w, b))
    for name, value in values.items():
        if name.startswith("nc1"):
            assert value > 1e-4, name
        elif not name.startswith("nc4"):
            assert value <= 1e-14, name
    means = h.reshape(6, 4, 5)[:, :, 0]
    turned = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 6)))[0]
    values = metrics((h, w @ turned, b))
    assert min(values["nc3_means"], values["nc3_unit_means"]) > 0.1
    assert max(value for name, value in values.items() if name[:3] in ("nc1", "nc2")) <= 1e-14
    # One class mean pulled away along its own direction: means of other lengths and, about their mean, other angles.
    h[:, :5] += 0.3 * means[:, :1]
    values = metrics((h, w, b))
    assert min(value for name, value in values.items() if name[:3] in ("nc2", "nc3")) > 1e-2


def test_rotations_of_feature_space_change_nothing() -> None:
    """Except the mean of coordinates' own standard deviations, which is no invariant."""
    h, w, b = random_arrays(0, 4, 5, 6)
    turned = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))[0]
    before, after = metrics((h, w, b)), metrics((turned @ h, w @ turned.T, b))
    for name, value in before.items():
        if name != "nc1_within_std":
            assert abs(after[name] - value) <= 1e-13 * (1 + value), name
    assert abs(after["nc1_within_std"] - before["nc1_within_std"]) > 1e-6


def test_nearest_class_mean_far_from_the_origin() -> None:
    """Distances must not be differences of squares of large numbers: features may have any common offset."""
    h, w, b = random_arrays(0, 4, 5, 6)
    shift = np.full(6, 1e6)
    before = metrics((h, 0 * w, b))["nc4_disagreement"]  # logits that do not see the features
    assert metrics((h + shift[:, None], 0 * w, b))["nc4_disagreement"] == before


def test_tied_to_neither_scale() -> None:
    """Only the mean standard deviation has the unit of the features."""
    h, w, b = random_arrays(0, 4, 5, 6)
    before, after = metrics((h, w, b)), metrics((3.0 * h, w / 3.0, b))
    assert abs(after.pop("nc1_within_std") / before.pop("nc1_within_std") - 3) <= 1e-13
    for name, value in before.items():
        assert abs(after[name] - value) <= 1e-13 * (1 + value), name


def test_uneven_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="7 samples cannot be sorted into 3 classes of equal size"):
        collapse_metrics(jnp.zeros((2, 7)), jnp.zeros((3, 2)), jnp.zeros(3))


def test_every_metric_says_which_part_of_collapse_it_is_and_how_it_is_defined() -> None:
    assert set(metrics(random_arrays(0, *SHAPES[0]))) == set(METRICS)
    for name, text in METRICS.items():
        assert text.startswith(f"{name[:3].upper()}. ")
        assert text.endswith((".", ")."))
        assert len(text) > 15


@pytest.mark.parametrize("shape", SHAPES)
def test_from_class_means_and_any_factor_of_the_scatter(shape: tuple[int, int, int]) -> None:
    """In other coordinates, with another factor of S of another width, against the definitions by loops."""
    classes, m, features = shape
    arrays = random_arrays(5, *shape)
    split = ClassState.from_sample(SampleState(*map(jnp.asarray, arrays)), classes)
    turned = np.linalg.qr(np.random.default_rng(6).standard_normal((features, features)))[0]
    scatter = np.asarray(split.within @ split.within.T)
    values, vectors = np.linalg.eigh(scatter)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    found = class_metrics(
        jnp.asarray(turned @ split.class_means), jnp.asarray(turned @ root), jnp.asarray(arrays[1] @ turned.T)
    )
    expected = by_definition(arrays)
    assert tuple(found) == CLASS_METRICS
    for name, value in found.items():
        assert abs(float(value) - expected[name]) <= 1e-12 * (1 + expected[name]), name
    assert m == 1 or expected["nc1_trace_ratio"] > 0.1


def test_the_other_metrics_are_not_determined_by_the_scatter() -> None:
    """Why they are missing without single samples: the same S with other samples gives other values."""
    h, w, b = random_arrays(0, 4, 5, 6)
    split = ClassState.from_sample(SampleState(jnp.asarray(h), jnp.asarray(w), jnp.asarray(b)), 4)
    mixed = np.linalg.qr(np.random.default_rng(7).standard_normal((16, 16)))[0]
    other = ClassState(split.class_means, split.within @ jnp.asarray(mixed), split.weight, split.bias).to_sample()
    before, after = metrics((h, w, b)), metrics((np.asarray(other.features), w, b))
    for name, value in before.items():
        assert (abs(after[name] - value) <= 1e-12 * (1 + value)) == (name in CLASS_METRICS), name
