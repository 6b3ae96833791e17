"""Exponents with intervals: exact laws, coverage, and what is no power law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ntkflow.comparison import fit_power_law

WIDTHS = np.repeat([32.0, 64.0, 128.0, 256.0], 5)


def test_an_exact_law() -> None:
    law = fit_power_law(WIDTHS, 3 * WIDTHS**-0.5)
    assert law.exponent == pytest.approx(-0.5, rel=1e-12)
    assert law.factor == pytest.approx(3, rel=1e-12)
    assert law.standard_error < 1e-12
    assert abs(law.curvature) < 1e-12
    np.testing.assert_allclose(law.at(WIDTHS), 3 * WIDTHS**-0.5, rtol=1e-12)


def test_against_scipy() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, WIDTHS.size)
    law = fit_power_law(WIDTHS, np.exp(noise) * WIDTHS**-0.4, level=0.9)
    expected = stats.linregress(np.log(WIDTHS), noise - 0.4 * np.log(WIDTHS))
    assert law.exponent == pytest.approx(expected.slope, rel=1e-10)
    assert law.standard_error == pytest.approx(expected.stderr, rel=1e-10)
    reach = stats.t.ppf(0.95, WIDTHS.size - 2) * expected.stderr
    assert law.interval == pytest.approx((expected.slope - reach, expected.slope + reach), rel=1e-10)


def test_coverage_of_the_interval() -> None:
    """2 000 draws know 95 % to 0.5 %."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        low, high = fit_power_law(WIDTHS, np.exp(generator.normal(0, 0.3, WIDTHS.size)) * WIDTHS**-0.5).interval
        held += low <= -0.5 <= high
    assert 0.93 <= held / 2000 <= 0.97


def test_a_sum_of_two_powers_is_bent() -> None:
    law = fit_power_law(WIDTHS, WIDTHS**-0.5 + 30 * WIDTHS**-1.5)
    assert law.curvature > 0.1
    assert np.isnan(fit_power_law(WIDTHS[:15], WIDTHS[:15] ** -0.5).curvature)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0, 2.0, 3.0], [1.0, 0.0, 2.0], "positive and finite"),
        ([1.0, 2.0, np.inf], [1.0, 1.0, 2.0], "positive and finite"),
        ([1.0, 2.0], [1.0, 2.0], "not 2 at 2"),
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "not 3 at 1"),
    ],
)
def test_what_is_refused(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_power_law(np.array(x), np.array(y))
