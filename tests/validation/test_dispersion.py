"""Exact moments beside the samples' ratio, over the phases, widths and depths of paper 2's Figure 1."""

from __future__ import annotations

import numpy as np
import pytest

from ntkflow.initialization import estimate_dispersion, ntk_moments, published_moments, sample_relu_ntk

VARIANCES = np.array([1.0, 1.5, 2.0, 2.2, 3.0])


@pytest.mark.slow
@pytest.mark.parametrize("width", [50, 100, 200])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
def test_formula_against_monte_carlo(width: int, ratio: float) -> None:
    widths = (width,) * round(ratio * width)
    logs = sample_relu_ntk(widths, np.sqrt(VARIANCES), draws=200_000, seed=width)
    exact = ntk_moments(widths, np.sqrt(VARIANCES)).dispersion
    lemmas = published_moments(widths, np.sqrt(VARIANCES)).dispersion
    for index, variance in enumerate(VARIANCES):
        found = estimate_dispersion(logs[:, index])
        away = (found.value - exact[index]) / found.standard_error
        point = f"| {width} | {ratio} | {variance:g} | {exact[index]:.4f} "
        print(f"{point}| {found.value:.4f} ± {found.standard_error:.4f} | {away:+.1f} | {lemmas[index]:.4f} |")
        assert abs(away) < 3
