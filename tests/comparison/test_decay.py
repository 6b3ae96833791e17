"""Fitted decay rates: exact on exponentials, honest on noisy ones, stopped by bends, floors and gaps."""

from __future__ import annotations

import numpy as np
import pytest

from ntkflow.comparison import DecayFit, fit_decay

TIMES = np.linspace(2.0, 8.0, 25)


def test_an_exponential_exactly() -> None:
    for centre in (0, 3, 12, 24):
        found = fit_decay(TIMES, 7 * np.exp(-0.8 * TIMES), centre)
        assert found.rate == pytest.approx(0.8, rel=1e-12)
        assert found.standard_error < 1e-13
        assert found.degrees == 13
        assert found.start <= TIMES[centre] <= found.end


@pytest.mark.parametrize("noise", [pytest.param(0.01, marks=pytest.mark.slow), 0.3])
@pytest.mark.parametrize("centre", [pytest.param(0, marks=pytest.mark.slow), 12])
def test_coverage_of_the_intervals(noise: float, centre: int) -> None:
    """1 000 noisy decays: the 95 % interval holds the rate in 93 to 97 % of them (binomial error 0.7 %)."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        norms = 3 * np.exp(-0.5 * TIMES + noise * generator.standard_normal(TIMES.size))
        low, high = fit_decay(TIMES, norms, centre).interval()
        held += low <= 0.5 <= high
    assert 930 <= held <= 970


def test_oscillation_widens_the_interval_and_leaves_the_rate() -> None:
    """As at the edge of stability, where the residual goes up and down at every step."""
    swings = 1 + 0.4 * (-1.0) ** np.arange(TIMES.size)
    found = fit_decay(TIMES, np.exp(-0.5 * TIMES) * swings, 12)
    assert abs(found.rate - 0.5) <= 0.05
    low, high = found.interval()
    assert low < 0.5 < high
    assert high - low > 0.1


def test_a_window_ends_where_the_decay_bends() -> None:
    """Two exponentials with little noise: about its first records the fast one is seen, about its last the slow."""
    generator = np.random.default_rng(2)
    norms = (np.exp(-3 * TIMES) * 1e6 + np.exp(-0.2 * TIMES)) * np.exp(1e-3 * generator.standard_normal(TIMES.size))
    early, late = fit_decay(TIMES, norms, 0), fit_decay(TIMES, norms, 22)
    assert early.end < 5
    assert early.rate == pytest.approx(3, abs=0.1)
    assert late.start > 5
    # A bend too small to be seen is still in it.
    assert late.rate == pytest.approx(0.2, abs=0.05)
    wide = fit_decay(TIMES, norms, 12, widest=25)
    assert wide.end - wide.start < TIMES[-1] - TIMES[0]


def test_a_floor_is_not_a_decay() -> None:
    norms = np.exp(-2 * TIMES) + 1e-5
    above = fit_decay(TIMES, norms, 8, floor=1e-4)
    assert above.end < TIMES[norms > 1e-4][-1] + 1e-9
    assert above.rate == pytest.approx(2, rel=0.03)
    below = fit_decay(TIMES, norms, 22, floor=1e-4)
    assert np.isnan(below.rate)
    assert np.isnan(below.interval()).all()


def test_a_gap_ends_a_window_too() -> None:
    norms = np.exp(-TIMES)
    norms[10] = np.nan
    found = fit_decay(TIMES, norms, 12)
    assert found.start >= TIMES[11]
    assert found.rate == pytest.approx(1, rel=1e-10)
    assert np.isnan(fit_decay(TIMES, norms, 10).rate)
    assert np.isnan(fit_decay(TIMES[:4], norms[:4], 1).rate)


def test_growth_is_a_negative_rate() -> None:
    assert fit_decay(TIMES, np.exp(0.3 * TIMES), 5).rate == pytest.approx(-0.3, rel=1e-10)


def test_bad_input() -> None:
    norms = np.exp(-TIMES)
    with pytest.raises(ValueError, match="at increasing times"):
        fit_decay(TIMES[::-1], norms, 3)
    with pytest.raises(ValueError, match="at least 5 records, not 3"):
        fit_decay(TIMES, norms, 3, widest=3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        DecayFit(1.0, 0.1, 3, 0.0, 1.0).interval(1.5)
