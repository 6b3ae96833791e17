"""Exponents of power laws, with intervals: how a distance falls with the width of a network."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy import stats


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """y = c xᵖ, fitted as a line through log y over log x.

    Attributes:
        exponent: p.
        standard_error: of p, from the scatter of log y about the line, the same at every x.
        interval: of p, by Student's t with as many degrees of freedom as points less two.
        level: of the interval.
        factor: c.
        curvature: by how much p is larger over the upper half of the x than over the lower one; beyond the interval's
            width it says that a power law is not what is seen. NaN with fewer than four different x.
    """

    exponent: float
    standard_error: float
    interval: tuple[float, float]
    level: float
    factor: float
    curvature: float

    def at(self, x: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """c xᵖ."""
        return self.factor * x**self.exponent


def fit_power_law(x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"], *, level: float = 0.95) -> PowerLaw:
    """Least squares in logarithms over independent points, several of which may have the same x.

    Raises:
        ValueError: numbers that are not positive and finite, fewer than three points, or a single x.
    """
    good = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    if not good.all():
        raise ValueError("a power law needs numbers that are positive and finite")
    if len(x) < 3 or len(np.unique(x)) < 2:
        raise ValueError(f"a power law needs three points at two x or more, not {len(x)} at {len(np.unique(x))}")
    u, v = np.log(x), np.log(y)
    slope, error = _slope(u, v)
    reach = float(stats.t.ppf(0.5 + level / 2, len(x) - 2)) * error
    places = np.unique(u)
    curvature = float("nan")
    if len(places) >= 4:
        middle = places[(len(places) - 1) // 2], places[len(places) // 2]
        lower, upper = u <= middle[1], u >= middle[0]
        curvature = _slope(u[upper], v[upper])[0] - _slope(u[lower], v[lower])[0]
    factor = float(np.exp(v.mean() - slope * u.mean()))
    return PowerLaw(slope, error, (slope - reach, slope + reach), level, factor, curvature)


def _slope(u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    centred = u - u.mean()
    slope = float(centred @ v / (centred @ centred))
    left = v - v.mean() - slope * centred
    return slope, float(np.sqrt(left @ left / max(len(u) - 2, 1) / (centred @ centred)))
