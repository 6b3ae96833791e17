"""The maps of one layer against integrals computed otherwise."""

from __future__ import annotations

import pytest

from ntkflow.initialization import MeanField
from ntkflow.kernels.infinite import LeakyReLU


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.0, 1.0), (-1.0, 0.0), (1.0, -0.1), (float("nan"), 0.0)])
def test_what_is_refused(sigma_w: float, sigma_b: float) -> None:
    with pytest.raises(ValueError, match="sigma_w must be positive and sigma_b not negative"):
        MeanField(LeakyReLU(), sigma_w, sigma_b)
