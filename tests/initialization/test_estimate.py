"""The estimated ratio: bias, errors and coverage on a distribution whose ratio is known, and what is not believed."""

from __future__ import annotations

import numpy as np
import pytest

from ntkflow.errors import UserError
from ntkflow.initialization import estimate_dispersion, jackknife_ratio, plain_ratio, published_ratio, sample_until
from ntkflow.initialization.estimate import scaled_samples


def _logs(variance: float, *shape: int, seed: int = 0) -> np.ndarray:
    """ln Θ of log-normal Θ, with the ratio e^variance."""
    return np.random.default_rng(seed).standard_normal(shape) * variance**0.5


def test_leaving_one_out_is_what_it_says() -> None:
    values = np.exp(_logs(0.5, 12))
    rest = [np.delete(values, index) for index in range(12)]
    pairs = [other.sum() ** 2 - np.sum(other**2) for other in rest]
    loops = sum(value**2 / (pair / (11 * 10)) for value, pair in zip(values, pairs, strict=True)) / 10
    assert published_ratio(values) == pytest.approx(loops, rel=1e-12)
    jackknife = 12 * plain_ratio(values) - 11 * np.mean([plain_ratio(other) for other in rest])
    assert jackknife_ratio(values) == pytest.approx(jackknife, rel=1e-12)


def test_bias() -> None:
    truth, values = np.exp(0.25), np.exp(_logs(0.25, 10_000, 10))
    found = {function: np.array([function(row) for row in values]) for function in (plain_ratio, jackknife_ratio)}
    error = {function: row.std() / 100 for function, row in found.items()}
    assert found[plain_ratio].mean() < truth - 5 * error[plain_ratio]
    assert abs(found[jackknife_ratio].mean() - truth) < abs(found[plain_ratio].mean() - truth) / 4


def _coverage(variance: float, samples: int, repetitions: int) -> float:
    held = []
    for index, logs in enumerate(_logs(variance, repetitions, samples, seed=7)):
        low, high = estimate_dispersion(logs, seed=index).interval
        held.append(low <= np.exp(variance) <= high)
    return float(np.mean(held))


def test_coverage_of_the_interval() -> None:
    assert 0.90 <= _coverage(0.25, 500, 150) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("variance", [0.1, 0.25])
def test_coverage_over_many_repetitions(variance: float) -> None:
    found = _coverage(variance, 500, 1000)
    print(f"s² = {variance}: {found:.3f}")
    assert 0.90 <= found <= 0.97


def test_error_and_diagnosis() -> None:
    many = estimate_dispersion(_logs(0.25, 40_000))
    few = estimate_dispersion(_logs(0.25, 20_000))
    assert many.standard_error == pytest.approx(few.standard_error / 2**0.5, rel=0.3)
    # (e^{4s²} − 4e^{2s²} + 4e^{s²} − 1)/0.1²: it makes the relative error 10 %.
    size = int(many.samples_needed)
    spread = np.std([plain_ratio(np.exp(row)) for row in _logs(0.25, 4000, size)]) / np.exp(0.25)
    assert spread == pytest.approx(0.1, rel=0.25)
    assert many.reliable
    heavy = estimate_dispersion(_logs(4.0, 500))
    assert not heavy.reliable
    assert heavy.samples_needed > 1e6
    assert heavy.largest_share > 0.1
    assert heavy.value < np.exp(4.0)


def test_scale_does_not_matter_and_signs_do() -> None:
    logs = _logs(0.3, 200)
    near, far = estimate_dispersion(logs), estimate_dispersion(logs + 5000)
    assert far.value == pytest.approx(near.value)
    assert far.log_mean == pytest.approx(near.log_mean + 5000)
    signs = np.where(np.arange(200) % 4 == 0, -1.0, 1.0)
    assert plain_ratio(scaled_samples(logs, signs)[0]) == pytest.approx(
        np.mean(np.exp(2 * logs)) / np.mean(signs * np.exp(logs)) ** 2
    )
    for bad in (logs[:2], np.append(logs, np.nan), np.full(5, -np.inf)):
        with pytest.raises(UserError, match="three samples"):
            estimate_dispersion(bad)


def test_early_stop() -> None:
    asked: list[tuple[int, int]] = []

    def draw(first: int, count: int) -> np.ndarray:
        asked.append((first, count))
        return _logs(0.25, count, seed=first)

    found = sample_until(draw, precision=0.005, maximum=50_000)
    assert found.standard_error <= 0.005 * found.value
    assert len(asked) > 1
    assert found.samples == sum(count for _, count in asked) < 50_000
    assert sample_until(draw, precision=1e-9, maximum=5000).samples == 5000
