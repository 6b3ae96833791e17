"""E Θ²/E² Θ from samples: value, bootstrap error and interval, and whether the tail lets them be believed."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from ntkflow.errors import UserError
from ntkflow.initialization.layer_numbers import Numbers

_MANY = 5_000
"""Beyond so many samples the interval is the normal one of the logarithm: the bootstrap would only repeat it."""
_RESAMPLES = 1000
LARGEST_SHARE = 0.1
"""An estimate whose largest sample makes up more of Σ θ² than this is not believed."""
WANTED_PRECISION = 0.1
"""Relative standard error that ``samples_needed`` is for."""


@dataclasses.dataclass(frozen=True)
class DispersionEstimate:
    """r = E Θ²/E² Θ estimated from N independent samples.

    Attributes:
        value: the jackknife estimate, whose bias is O(1/N²) where moments exist.
        standard_error: bootstrap, or from the linearised ratio beyond 5 000 samples.
        interval: 95 %, bootstrap-t of ln r (percentiles of the studentised logarithm).
        samples: N.
        largest_share: the largest θ² over Σ θ².
        samples_needed: N for a relative standard error of 10 % if ln|Θ| were normal with the variance that the samples
            have: (e^{4s²} − 4e^{2s²} + 4e^{s²} − 1)/0.1².
        log_mean: ln of the mean of Θ.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    samples: int
    largest_share: float
    samples_needed: float
    log_mean: float

    @property
    def reliable(self) -> bool:
        """Whether no single sample dominates, and there are a quarter of the samples that a log-normal would need."""
        return self.largest_share <= LARGEST_SHARE and self.samples >= self.samples_needed / 4


def estimate_dispersion(
    logs: Float[np.ndarray, " samples"], signs: Float[np.ndarray, " samples"] | None = None, *, seed: int = 0
) -> DispersionEstimate:
    """Estimate E Θ²/E² Θ from ln|Θ| (and the signs of Θ) of independent networks. O(N) beside the bootstrap.

    Args:
        logs: ln|Θ|; the ratio does not see a common factor, so nothing overflows.
        signs: ±1 or 0; all 1 unless told.
        seed: of the bootstrap.

    Raises:
        UserError: fewer than three samples, or one that is no number.
    """
    values, top = scaled_samples(logs, signs)
    count = len(values)
    first, second = float(values.mean()), float(np.mean(values**2))
    share = float(np.max(values**2) / np.sum(values**2))
    finite = np.asarray(logs)[np.isfinite(logs)]
    variance = float(np.var(finite, ddof=1)) if len(finite) > 1 else 0.0
    with np.errstate(over="ignore"):
        spread = np.exp(4 * variance) - 4 * np.exp(2 * variance) + 4 * np.exp(variance) - 1
    value = jackknife_ratio(values)
    if count > _MANY:
        error = float(_log_error(values))
        relative, low, high = error, value * np.exp(-1.959964 * error), value * np.exp(1.959964 * error)
    else:
        relative, (low, high) = _bootstrap(values, seed)
    return DispersionEstimate(
        value=value,
        standard_error=value * relative,
        interval=(float(low), float(high)),
        samples=count,
        largest_share=share,
        samples_needed=float(spread / WANTED_PRECISION**2),
        log_mean=float(np.log(np.abs(first)) + top) if first and second else -np.inf,
    )


def scaled_samples(
    logs: Float[np.ndarray, " samples"], signs: Float[np.ndarray, " samples"] | None = None
) -> tuple[Float[np.ndarray, " samples"], float]:
    """Θ over its largest absolute value, and the logarithm of that.

    Raises:
        UserError: fewer than three samples, one that is no number or infinite, or all of them zero.
    """
    logs = np.asarray(logs, float)
    if len(logs) < 3 or np.any(np.isnan(logs)) or np.any(np.isposinf(logs)) or np.all(np.isneginf(logs)):
        raise UserError(
            "the ratio needs three samples of Θ at least, all of them finite, and not all zero",
            place="samples of Θ",
            remedy="Draw more networks; for activations that are not homogeneous, a smaller depth or σ_w keeps numbers "
            "within float64.",
        )
    top = float(logs.max())
    values = np.exp(logs - top)
    return (values if signs is None else values * np.asarray(signs, float)), top


def plain_ratio(values: Float[np.ndarray, " samples"]) -> float:
    """μ̂₂/μ̂₁², biased at order 1/N."""
    return float(np.mean(values**2) / np.mean(values) ** 2)


def published_ratio(values: Float[np.ndarray, " samples"]) -> float:
    """Paper 2, App. C.3: Σ_i θ_i²/((Σ_{j≠i} θ_j)² − Σ_{j≠i} θ_j²) times (N − 1), in O(N).

    Not unbiased, as is said there: it is too large by N/(N − 2), for the mean over i wants a factor 1/N and not
    1/(N − 2), and by the convexity of 1/x besides, for E[1/X] > 1/E[X].
    """
    count, first, second = len(values), values.sum(), np.sum(values**2)
    return float((count - 1) * np.sum(values**2 / ((first - values) ** 2 - (second - values**2))))


def jackknife_ratio(values: Float[np.ndarray, " samples"]) -> float:
    """N r − (N − 1) mean of r without one sample, r the plain ratio; O(N)."""
    count, first, second = len(values), values.sum(), np.sum(values**2)
    without = (count - 1) * (second - values**2) / (first - values) ** 2
    found = float(count * plain_ratio(values) - (count - 1) * without.mean())
    # By Cauchy and Schwarz no distribution has a ratio below 1.
    return max(found, 1.0)


def _log_error(values: Float[np.ndarray, "*batch samples"]) -> Numbers:
    """Standard error of ln r by the delta method."""
    first = values.mean(axis=-1, keepdims=True)
    second = np.mean(values**2, axis=-1, keepdims=True)
    influence = values**2 / second - 2 * values / first
    return influence.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def _bootstrap(values: Float[np.ndarray, " samples"], seed: int) -> tuple[float, tuple[float, float]]:
    """Standard error of r over r, and the bootstrap-t interval of r."""
    rng, count = np.random.default_rng(seed), len(values)
    rows = max(1, 4_000_000 // count)
    ratios: list[np.ndarray] = []
    pivots: list[np.ndarray] = []
    centre = np.log(plain_ratio(values))
    for start in range(0, _RESAMPLES, rows):
        chosen: Int[np.ndarray, "some samples"] = rng.integers(0, count, (min(rows, _RESAMPLES - start), count))
        again = values[chosen]
        log = np.log(np.mean(again**2, axis=1)) - 2 * np.log(np.abs(again.mean(axis=1)))
        error = _log_error(again)
        ratios.append(log)
        pivots.append(np.where(error > 0, (log - centre) / np.where(error > 0, error, 1.0), 0.0))
    error, logs = float(_log_error(values)), np.concatenate(ratios)
    low, high = np.quantile(np.concatenate(pivots), [0.025, 0.975])
    relative = float(np.std(np.exp(logs - centre), ddof=1))
    return relative, (float(np.exp(centre - high * error)), float(np.exp(centre - low * error)))
